//! Load on one address, and what became of it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use hanse_rt::TaskSet;
use http::StatusCode;

use crate::{PATIENCE, get};

/// Open-loop load: each request begins when it is due, whatever became of earlier ones.
#[derive(Debug)]
pub struct Load {
    pace: TaskSet,
    requests: TaskSet,
    tally: Arc<Mutex<BTreeMap<String, usize>>>,
}

impl Load {
    /// Sends `rate` GET requests a second to `at`.
    ///
    /// # Panics
    /// Never.
    pub fn start(at: SocketAddr, rate: u32) -> Self {
        let load = Self {
            pace: TaskSet::new("pace"),
            requests: TaskSet::new("requests"),
            tally: Arc::default(),
        };
        let (requests, tally) = (load.requests.clone(), Arc::clone(&load.tally));
        load.pace.spawn("pace", async move {
            let mut ticks = hanse_rt::interval(Duration::from_secs(1) / rate, Duration::ZERO);
            loop {
                ticks.tick().await;
                let tally = Arc::clone(&tally);
                requests.spawn("one request", async move {
                    let what = match get(at).await {
                        Ok(reply) if reply.status == StatusCode::OK => reply.cluster().to_owned(),
                        Ok(reply) => format!("failed: {} {}", reply.status, reply.body),
                        Err(error) => format!("failed: {error}"),
                    };
                    let mut tally = tally.lock().expect("no holder panics");
                    *tally.entry(what).or_default() += 1;
                });
            }
        });
        load
    }

    /// Answers of `cluster` so far.
    ///
    /// # Panics
    /// Never.
    pub fn count(&self, cluster: &str) -> usize {
        let tally = self.tally.lock().expect("no holder panics");
        tally.get(cluster).copied().unwrap_or(0)
    }

    /// Ends it: every request is answered, and at most one in a thousand with a failure.
    ///
    /// # Panics
    /// When that is not so.
    pub async fn assert_few_failures(self) {
        self.pace.kill().await;
        assert_eq!(self.requests.drain(PATIENCE).await, 0, "requests without an end");
        let tally = self.tally.lock().expect("no holder panics");
        let total: usize = tally.values().sum();
        let failures = tally.iter().filter(|(what, _)| what.starts_with("failed"));
        let failed: usize = failures.map(|(_, count)| count).sum();
        assert!(failed * 1000 <= total, "{failed} of {total} failed: {tally:?}");
    }
}
