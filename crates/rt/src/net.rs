//! The doors to the network: listeners, connections, and the address map of simulated members.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, RwLock},
    time::Duration,
};

use tokio::net::TcpSocket;
pub use tokio::net::{TcpListener, TcpStream};

/// Connections that may wait in a listener's accept queue.
const BACKLOG: u32 = 1024;

/// Opens a listener. Port 0 takes a free one.
///
/// # Errors
/// The system's error, for instance `AddrInUse`; the caller names the address to the user.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    bind(address)?.listen(BACKLOG)
}

fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// An address that this process keeps, listening on it or not.
///
/// A socket that is bound and does not listen holds the place: the system gives its port to
/// nobody who asks for a free one, and to no outgoing connection. A connection to it is refused.
#[derive(Debug)]
pub struct Reserved {
    address: SocketAddr,
    /// Held open for its binding.
    _socket: TcpSocket,
}

impl Reserved {
    /// Takes an address. Port 0 takes a free one.
    ///
    /// # Errors
    /// The system's error, for instance `AddrInUse`.
    pub fn take(address: SocketAddr) -> io::Result<Self> {
        let socket = bind(address)?;
        Ok(Self { address: socket.local_addr()?, _socket: socket })
    }

    /// The address, with its real port.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens on it; when that listener is closed, it can be opened again.
    ///
    /// # Errors
    /// The system's error, `AddrInUse` while an earlier listener is open.
    pub fn listen(&self) -> io::Result<TcpListener> {
        listen(self.address)
    }
}

/// Connects within `limit`, without Nagle's delay.
///
/// # Errors
/// The system's error, or `TimedOut`.
#[expect(clippy::disallowed_methods, reason = "the one door to outgoing connections")]
pub async fn connect(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = crate::timeout(limit, TcpStream::connect(address))
        .await
        .map_err(|elapsed| io::Error::new(io::ErrorKind::TimedOut, elapsed))??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Where an address of the Kubernetes API is really reached.
///
/// Real clusters use [`AddressMap::identity`]. Simulated members publish pods and services in
/// 10.64.0.0/10, since an API server refuses loopback endpoints, and listen on 127.a.b.c for
/// 10.a.b.c. Single pairs (a taken port, a link between two clusters) override that rule.
#[derive(Clone, Default)]
pub struct AddressMap {
    loopback: bool,
    pairs: Arc<RwLock<BTreeMap<SocketAddr, SocketAddr>>>,
    rule: Option<Rule>,
}

/// Where an address is reached when no pair says so; none leaves it to the built-in rule.
pub type Rule = Arc<dyn Fn(SocketAddr) -> Option<SocketAddr> + Send + Sync>;

impl AddressMap {
    /// Every address is reached as it is.
    pub fn identity() -> Self {
        Self::default()
    }

    /// 10.64.0.0/10 is reached at the same place of 127.0.0.0/8.
    pub fn loopback() -> Self {
        Self { loopback: true, ..Self::default() }
    }

    /// Reaches `from` at `to` from now on, for all clones of this map.
    pub fn insert(&self, from: SocketAddr, to: SocketAddr) {
        self.pairs.write().expect("no holder of this lock panics").insert(from, to);
    }

    /// Takes a pair out.
    pub fn remove(&self, from: SocketAddr) {
        self.pairs.write().expect("no holder of this lock panics").remove(&from);
    }

    /// A map of its own that starts with the same pairs and follows `rule` behind them.
    pub fn fork(&self, rule: Option<Rule>) -> Self {
        let pairs = self.pairs.read().expect("no holder of this lock panics").clone();
        Self { loopback: self.loopback, pairs: Arc::new(RwLock::new(pairs)), rule }
    }

    /// Where `address` is really reached.
    pub fn resolve(&self, address: SocketAddr) -> SocketAddr {
        if let Some(to) = self.pairs.read().expect("no holder of this lock panics").get(&address) {
            return *to;
        }
        if let Some(to) = self.rule.as_ref().and_then(|rule| rule(address)) {
            return to;
        }
        match address.ip() {
            IpAddr::V4(ip) if self.loopback && in_simulated_range(ip) => {
                let [_, b, c, d] = ip.octets();
                SocketAddr::new(Ipv4Addr::new(127, b, c, d).into(), address.port())
            }
            _ => address,
        }
    }
}

impl std::fmt::Debug for AddressMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddressMap")
            .field("loopback", &self.loopback)
            .field("pairs", &self.pairs)
            .finish_non_exhaustive()
    }
}

/// Whether `ip` lies in 10.64.0.0/10, the range of simulated pods and services.
pub const fn in_simulated_range(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 10 && b >= 64 && b < 128
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn simulated_addresses_are_reached_on_loopback_and_others_as_they_are() {
        let map = AddressMap::loopback();
        assert_eq!(map.resolve(at("10.64.3.4:8080")), at("127.64.3.4:8080"));
        assert_eq!(map.resolve(at("10.127.255.1:80")), at("127.127.255.1:80"));
        assert_eq!(map.resolve(at("10.63.3.4:8080")), at("10.63.3.4:8080"));
        assert_eq!(map.resolve(at("[::1]:80")), at("[::1]:80"));
        assert_eq!(AddressMap::identity().resolve(at("10.64.3.4:80")), at("10.64.3.4:80"));
    }

    #[test]
    fn a_rule_of_a_fork_stands_behind_its_pairs() {
        let map = AddressMap::loopback();
        map.insert(at("10.64.0.1:80"), at("127.0.0.1:1"));
        let rule: Rule = Arc::new(|from| (from.port() == 80).then(|| at("127.0.0.1:2")));
        let fork = map.fork(Some(rule));
        assert_eq!(fork.resolve(at("10.64.0.1:80")), at("127.0.0.1:1"));
        assert_eq!(fork.resolve(at("10.64.0.2:80")), at("127.0.0.1:2"));
        assert_eq!(fork.resolve(at("10.64.0.2:81")), at("127.64.0.2:81"));
    }

    #[test]
    fn a_pair_wins_over_the_rule_and_a_fork_has_pairs_of_its_own() {
        let map = AddressMap::loopback();
        map.insert(at("10.64.3.4:80"), at("127.0.0.1:40123"));
        let fork = map.fork(None);
        map.remove(at("10.64.3.4:80"));
        assert_eq!(map.resolve(at("10.64.3.4:80")), at("127.64.3.4:80"));
        assert_eq!(fork.resolve(at("10.64.3.4:80")), at("127.0.0.1:40123"));
    }

    #[tokio::test]
    async fn a_reserved_address_is_nobody_elses_and_listens_again_and_again() {
        let kept = Reserved::take(at("127.0.0.1:0")).unwrap();
        // The system chooses a free port by the same rule by which it refuses this one.
        let stranger = TcpSocket::new_v4().unwrap().bind(kept.address()).unwrap_err();
        assert_eq!(stranger.kind(), io::ErrorKind::AddrInUse);
        for _ in 0..2 {
            let listener = kept.listen().unwrap();
            let client = connect(kept.address(), Duration::from_secs(1)).await.unwrap();
            drop((listener.accept().await.unwrap(), client));
            drop(listener);
            let refused = connect(kept.address(), Duration::from_secs(1)).await.unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        }
    }

    #[tokio::test]
    async fn a_refused_connection_is_an_error_and_not_a_wait() {
        let listener = listen(at("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = connect(address, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
