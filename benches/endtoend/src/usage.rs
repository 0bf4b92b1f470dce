//! Processor time of every process that takes part, so that a figure can be told from a busy
//! machine, and requests that the API servers have answered.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use anyhow::{Result, bail};
use hanse_rt::Mono;
use hanse_tests_kubernetes::{ControlPlane, Real};
use kube::Client;

/// What Linux counts processor time in, in `/proc`: a hundredth of a second on all its platforms.
const TICK: Duration = Duration::from_millis(10);

/// Processor time since each process began, by what it is.
type Times = BTreeMap<String, Duration>;
/// Requests since each API server began, by server, verb, resource and answer.
type Requests = BTreeMap<(String, String), u64>;

/// What was used while something was measured.
#[derive(Debug)]
pub(crate) struct Usage {
    what: String,
    started: Mono,
    times: Times,
    /// Absent when nobody asks for them: to read them costs the servers something.
    requests: Option<Requests>,
}

impl Usage {
    /// Looks at the beginning.
    pub(crate) async fn begin(what: &str, real: &Real, requests: bool) -> Result<Self> {
        let requests = if requests { Some(all_requests(real).await?) } else { None };
        let (what, started) = (what.to_owned(), Mono::now());
        Ok(Self { what, started, times: times(real), requests })
    }

    /// Looks again, and gives the difference in words.
    pub(crate) async fn end(self, real: &Real) -> Result<String> {
        let took = self.started.elapsed();
        let now = times(real);
        let used = |(name, time): (&String, &Duration)| {
            let before = self.times.get(name).copied().unwrap_or_default();
            format!("{name} {:.2}", time.saturating_sub(before).as_secs_f64())
        };
        let parts: Vec<String> = now.iter().map(used).collect();
        let sum: Duration = now
            .iter()
            .map(|(name, time)| {
                time.saturating_sub(self.times.get(name).copied().unwrap_or_default())
            })
            .sum();
        let mut text = format!(
            "{}: {:.1} s, processor time {:.1} s: {}",
            self.what,
            took.as_secs_f64(),
            sum.as_secs_f64(),
            parts.join(", ")
        );
        if let Some(before) = &self.requests {
            for ((server, request), count) in all_requests(real).await? {
                let known = before.get(&(server.clone(), request.clone())).copied();
                let more = count - known.unwrap_or(0);
                if more > 0 {
                    write!(text, "\n  {server}: {more} {request}")?;
                }
            }
        }
        Ok(text)
    }
}

/// Waits until everything that still follows from what was measured before is done: all processes
/// together take less than a third of a core.
pub(crate) async fn quiet(real: &Real, limit: Duration) -> Result<()> {
    const LOOK: Duration = Duration::from_secs(3);
    let begun = Mono::now();
    let mut before: Duration = times(real).values().sum();
    loop {
        hanse_rt::sleep(LOOK).await;
        let now: Duration = times(real).values().sum();
        if now.saturating_sub(before) < LOOK / 3 {
            return Ok(());
        }
        if begun.elapsed() > limit {
            bail!("the machine is not quiet after {limit:?}");
        }
        before = now;
    }
}

/// Members' processes, relays and gateways are added up.
fn times(real: &Real) -> Times {
    let mut all = Times::new();
    let mut add = |name: String, id: &str, fields: &[usize]| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The program's name may hold anything; what follows its bracket begins with field 3.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        let words: Vec<&str> = rest.split_whitespace().collect();
        let ticks = fields.iter().map(|field| words.get(field - 3)?.parse::<u32>().ok());
        *all.entry(name).or_default() += TICK * ticks.flatten().sum::<u32>();
    };
    for (role, id) in real.process_ids() {
        let role = role.split('-').next().unwrap_or(role);
        add(format!("hanse {role}"), &id.to_string(), &[14, 15]);
    }
    for (part, id) in real.hub().process_ids() {
        add(format!("hub's {part}"), &id.to_string(), &[14, 15]);
    }
    for (part, id) in real.planes.values().flat_map(ControlPlane::process_ids) {
        add(format!("members' {part}"), &id.to_string(), &[14, 15]);
    }
    add("bench and kubelets".to_owned(), "self", &[14, 15]);
    // What was killed counts here with all that it used before.
    add("kubectl, and what was killed".to_owned(), "self", &[16, 17]);
    all
}

async fn all_requests(real: &Real) -> Result<Requests> {
    let mut all = requests("hub", &real.fleet.hub).await?;
    for client in real.fleet.members.values() {
        for (key, count) in requests("members", client).await? {
            *all.entry(key).or_default() += count;
        }
    }
    Ok(all)
}

/// What `apiserver_request_total` says.
async fn requests(server: &str, client: &Client) -> Result<Requests> {
    let request = http::Request::get("/metrics").body(Vec::new())?;
    let text = client.request_text(request).await?;
    let mut all = Requests::new();
    for line in text.lines() {
        let Some((labels, count)) =
            line.strip_prefix("apiserver_request_total{").and_then(|rest| rest.split_once("} "))
        else {
            continue;
        };
        let label = |name: &str| {
            let found = labels.split(',').find_map(|pair| pair.strip_prefix(name));
            found.unwrap_or_default().trim_matches(['=', '"'])
        };
        let (resource, part) = (label("resource"), label("subresource"));
        let slash = if part.is_empty() { "" } else { "/" };
        let (verb, code) = (label("verb"), label("code"));
        let what = format!("{verb} {resource}{slash}{part} {code}");
        *all.entry((server.to_owned(), what)).or_default() += count.parse::<u64>().unwrap_or(0);
    }
    Ok(all)
}
