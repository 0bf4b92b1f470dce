//! What an idle server costs, measured in a process of its own.
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test may end by a panic")]

use std::time::Duration;

use hanse_apiserver::ApiServer;
use hanse_rt::TaskSet;

const SERVERS: usize = 500;
/// The bound of the design for an idle simulated member's API.
const LIMIT: usize = 200 << 10;

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kibibytes: usize = line.split_whitespace().next().unwrap().parse().unwrap();
    kibibytes << 10
}

#[tokio::test(start_paused = true)]
async fn an_idle_server_costs_at_most_200_kib() {
    let tasks = TaskSet::new("test");
    let start = || {
        let server = ApiServer::builder().history(128).build().unwrap();
        server.run(&tasks);
        server
    };
    // What all servers share is made by the first.
    let first = start();
    hanse_rt::sleep(Duration::from_millis(1)).await;
    let before = resident();
    let servers: Vec<ApiServer> = (0..SERVERS).map(|_| start()).collect();
    hanse_rt::sleep(Duration::from_millis(1)).await;
    let each = (resident() - before) / SERVERS;
    println!("an idle server: {} KiB", each >> 10);
    assert!(each <= LIMIT, "{each} bytes");
    drop((first, servers));
}
