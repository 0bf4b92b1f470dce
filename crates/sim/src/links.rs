//! Links between clusters: a TCP forwarder per source and target address that adds the distance
//! and suffers the faults of both ends.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use hanse_rt::{
    Mono, TaskSet,
    net::{self, AddressMap, TcpListener, TcpStream},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf},
    sync::mpsc,
};

use crate::faults::{Ends, Passage};

/// What is on its way in one direction, in chunks; a full link holds the sender back.
const CHUNKS: usize = 256;
const CHUNK: usize = 16 * 1024;
/// Longer than any distance here: the forwarder itself is on loopback.
const CONNECT: Duration = Duration::from_secs(5);

/// How one place reaches another.
#[derive(Clone, Debug)]
pub struct Route {
    /// Both ends and what is wrong with them.
    pub ends: Ends,
    /// There and back.
    pub round_trip: Duration,
}

/// Which route a target address lies on, seen from one place; none for what is at hand.
pub type Routes = Arc<dyn Fn(SocketAddr) -> Option<Route> + Send + Sync>;

/// The map of a place whose connections to other clusters go over links. Forwarders are opened
/// when an address is first asked for and live as long as `tasks`.
pub fn over_links(tasks: &TaskSet, base: &AddressMap, routes: Routes) -> AddressMap {
    let opened: Arc<Mutex<BTreeMap<SocketAddr, SocketAddr>>> = Arc::default();
    let (tasks, below) = (tasks.child("links"), base.clone());
    base.fork(Some(Arc::new(move |target| {
        let route = routes(target)?;
        let mut opened = opened.lock().expect("no holder of this lock panics");
        if let Some(forwarder) = opened.get(&target) {
            return Some(*forwarder);
        }
        match open(&tasks, below.resolve(target), route) {
            Ok(forwarder) => {
                opened.insert(target, forwarder);
                Some(forwarder)
            }
            Err(error) => {
                tracing::warn!(%target, %error, "link not opened");
                None
            }
        }
    })))
}

fn open(tasks: &TaskSet, target: SocketAddr, route: Route) -> std::io::Result<SocketAddr> {
    let listener = net::listen(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0))?;
    let address = listener.local_addr()?;
    let connections = tasks.clone();
    tasks.spawn("link", accept(listener, target, route, connections));
    Ok(address)
}

async fn accept(listener: TcpListener, target: SocketAddr, route: Route, tasks: TaskSet) {
    loop {
        match listener.accept().await {
            Ok((near, _)) => {
                drop(near.set_nodelay(true));
                tasks.spawn("link connection", carry(near, target, route.clone()));
            }
            Err(_) => hanse_rt::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn carry(near: TcpStream, target: SocketAddr, route: Route) {
    let Route { mut ends, round_trip } = route;
    if ends.passage() == Passage::Silent {
        ends.left(Passage::Silent).await;
        return reset(&near);
    }
    if ends.passage() == Passage::Refused {
        return reset(&near);
    }
    // The handshake of TCP takes one round trip.
    hanse_rt::sleep(round_trip).await;
    let Ok(far) = net::connect(target, CONNECT).await else {
        return reset(&near);
    };
    let mut breaking = ends.clone();
    let broken = async move {
        while breaking.passage() != Passage::Refused {
            breaking.changed().await;
        }
    };
    let (near_read, near_write) = tokio::io::split(near);
    let (far_read, far_write) = tokio::io::split(far);
    let half = round_trip / 2;
    hanse_rt::select! {
        () = broken => {}
        _ = async { futures::join!(
            pass(near_read, far_write, ends.clone(), half),
            pass(far_read, near_write, ends, half),
        ) } => {}
    }
}

/// One direction: every chunk arrives `half` after it was read, in order, none while silent.
async fn pass(
    mut from: ReadHalf<TcpStream>,
    mut to: WriteHalf<TcpStream>,
    mut ends: Ends,
    half: Duration,
) {
    let (sender, mut chunks) = mpsc::channel::<(Mono, Bytes)>(CHUNKS);
    let read = async move {
        let mut buffer = vec![0; CHUNK];
        while let Ok(count) = from.read(&mut buffer).await {
            let chunk = Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default());
            if sender.send((Mono::now() + half, chunk)).await.is_err() || count == 0 {
                return;
            }
        }
    };
    let write = async move {
        while let Some((due, chunk)) = chunks.recv().await {
            hanse_rt::sleep_until(due).await;
            ends.left(Passage::Silent).await;
            if let Passage::Open(more) = ends.passage()
                && !more.is_zero()
            {
                hanse_rt::sleep(more / 2).await;
            }
            let passed =
                if chunk.is_empty() { to.shutdown().await } else { to.write_all(&chunk).await };
            if passed.is_err() {
                return;
            }
        }
    };
    futures::join!(read, write);
}

/// Closes without a word more, as a refused connection looks to the one who opened it.
fn reset(stream: &TcpStream) {
    drop(stream.set_zero_linger());
}
