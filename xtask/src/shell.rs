//! Running other programs, with what runs shown to the reader.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().expect("xtask lies in the root").to_owned()
}

/// Where fetched and built test programs are kept: `HANSE_CACHE`, or `.cache` in the repository.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("HANSE_CACHE").map_or_else(|| root().join(".cache"), PathBuf::from)
}

/// Where Cargo builds.
pub(crate) fn target() -> Result<PathBuf> {
    let arguments = ["metadata", "--format-version", "1", "--no-deps", "--locked"];
    let metadata: serde_json::Value =
        serde_json::from_str(&read(&mut command("cargo", &arguments))?)?;
    let folder = metadata["target_directory"].as_str().context("cargo names its target folder")?;
    Ok(PathBuf::from(folder))
}

/// A command that runs in the root.
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    // What Cargo says of this program is not for the programs it builds: build scripts that look
    // at it would run again each time, and all that depends on them be compiled again.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command to its end, shows it first.
#[expect(clippy::print_stderr, reason = "shows what runs")]
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let started = Stopwatch::start();
    let status = command.status().with_context(|| format!("`{shown}` could not be started"))?;
    eprintln!("  ({:.1} s)", started.elapsed().as_secs_f64());
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// What a command prints, without its last line break.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("`{shown}` could not be started"))?;
    if !output.status.success() {
        bail!("`{shown}` ended with {}", output.status);
    }
    Ok(String::from_utf8(output.stdout)?.trim_end().to_owned())
}

/// Whether a program can be started.
pub(crate) fn exists(program: &str, version_flag: &str) -> bool {
    Command::new(program)
        .arg(version_flag)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn show(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

struct Stopwatch(
    #[expect(clippy::disallowed_types, reason = "times a person's command")] std::time::Instant,
);

impl Stopwatch {
    #[expect(clippy::disallowed_types, reason = "times a person's command")]
    fn start() -> Self {
        Self(std::time::Instant::now())
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
