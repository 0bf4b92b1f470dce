//! What the process uses, and on which machine.

pub(crate) use hanse_bench_scheduler::count::processor_time;

/// Resident memory, MiB.
pub(crate) fn resident() -> f64 {
    status("VmRSS:")
}

/// The most resident memory since the process started, MiB.
pub(crate) fn peak() -> f64 {
    status("VmHWM:")
}

fn status(field: &str) -> f64 {
    let text = read("/proc/self/status");
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u32>().ok());
    f64::from(kib.unwrap_or(0)) / 1024.0
}

/// The machine in words.
pub(crate) fn words() -> String {
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let load = read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ");
    format!("{cores} x {}, load {load}", model.trim_start_matches([':', ' ', '\t']))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
