//! A link between two clusters: forwards bytes until it freezes, as a cut cable does: nothing
//! comes, nothing is refused.

use std::{net::SocketAddr, time::Duration};

use hanse_rt::{TaskSet, net};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::watch,
};

/// One direction of connecting between two clusters.
#[derive(Clone, Debug)]
pub struct Link {
    /// Where its near end listens.
    pub address: SocketAddr,
    frozen: watch::Sender<bool>,
}

impl Link {
    /// Starts a link to `target`.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(tasks: &TaskSet, target: SocketAddr) -> Self {
        let listener = net::listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        let link = Self {
            address: listener.local_addr().expect("a bound listener"),
            frozen: watch::Sender::new(false),
        };
        let (tasks, frozen) = (tasks.child("link"), link.frozen.clone());
        tasks.clone().spawn("link", async move {
            while let Ok((near, _)) = listener.accept().await {
                let frozen = frozen.subscribe();
                tasks.spawn("link connection", async move {
                    let mut thaw = frozen.clone();
                    if thaw.wait_for(|frozen| !frozen).await.is_err() {
                        return;
                    }
                    let Ok(far) = net::connect(target, Duration::from_secs(5)).await else {
                        return;
                    };
                    let ((near_read, near_write), (far_read, far_write)) =
                        (near.into_split(), far.into_split());
                    hanse_rt::select! {
                        () = pump(near_read, far_write, frozen.clone()) => {}
                        () = pump(far_read, near_write, frozen) => {}
                    }
                });
            }
        });
        link
    }

    /// Stops or resumes the flow.
    pub fn freeze(&self, frozen: bool) {
        self.frozen.send_replace(frozen);
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut frozen: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if frozen.wait_for(|frozen| !frozen).await.is_err() {
            return;
        }
        let Some(read) = buffer.get(..count) else {
            return;
        };
        if to.write_all(read).await.is_err() {
            return;
        }
    }
}
