//! Signals that end a long-running role.

use tokio::signal::unix::{SignalKind, signal};

/// Resolves at SIGTERM or Ctrl-C; a second one then ends the process at once.
pub(crate) async fn ended() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be listened for; only a kill ends this process");
        return std::future::pending().await;
    };
    hanse_rt::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    hanse_rt::TaskSet::new("signals").spawn("second signal", async move {
        hanse_rt::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::abort();
    });
}
