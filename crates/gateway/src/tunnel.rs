//! Opaque TCP: bytes from a service port to a pod, or by CONNECT to another gateway and from
//! there to a pod.

use std::sync::Arc;

use hanse_rt::{Mono, net};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::{body::Incoming, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use crate::{
    answer::{self, Body},
    choice::{self, Picked, Tried},
    headers,
    hop::POD_CONNECT,
    pool::{CONNECT, StreamUse},
    retry::MAX_ATTEMPTS,
    table::{InFlight, PeerAddress, Route},
    worker::Shared,
};

enum Far {
    Pod(net::TcpStream),
    Peer(TokioIo<Upgraded>, StreamUse),
}

/// Carries one client connection on the port of `service` to its end.
pub(crate) async fn carry(shared: Arc<Shared>, service: Arc<str>, mut client: net::TcpStream) {
    let began = Mono::now();
    let Some(route) = shared.table.load().routes.get(&*service).cloned() else {
        return;
    };
    let _in_flight = shared.load.begin();
    let Some((cluster, far, _load)) = open(&shared, &route).await else {
        shared.counts.request(&service, "", "unavailable", began.elapsed());
        return;
    };
    let ended = match far {
        Far::Pod(mut pod) => copy_bidirectional(&mut client, &mut pod).await,
        Far::Peer(mut peer, _stream) => copy_bidirectional(&mut client, &mut peer).await,
    };
    let code = if ended.is_ok() { "closed" } else { "broken" };
    shared.counts.request(&service, &cluster, code, began.elapsed());
}

/// Opens the far side; nothing is lost by trying several places, because nothing was sent yet.
async fn open(shared: &Arc<Shared>, route: &Route) -> Option<(String, Far, InFlight)> {
    let mut tried = Tried::default();
    for _ in 0..MAX_ATTEMPTS {
        let wall = shared.wall.now().as_second();
        let picked =
            shared.with_rng(|rng| choice::choose(route, &tried, wall, Mono::now(), rng))?;
        tried.add(&picked);
        let (far, load) = match &picked {
            Picked::Pod(pod) => {
                let opened = shared.dialer.connect(pod.address, POD_CONNECT).await;
                match opened {
                    Ok(_) => pod.outcome.succeeded(),
                    Err(_) => drop(pod.outcome.failed(Mono::now())),
                }
                (opened.ok().map(Far::Pod), &pod.load)
            }
            Picked::Peer(peer, outcome) => {
                let opened = connect(peer, route).await;
                match opened {
                    Some(_) => outcome.succeeded(),
                    None => drop(outcome.failed(Mono::now())),
                }
                (opened, &peer.load)
            }
        };
        if let Some(far) = far {
            return Some((shared.name(&picked).to_owned(), far, load.begin()));
        }
        shared.counts.retry(&route.name, "Unsent");
    }
    None
}

async fn connect(peer: &Arc<PeerAddress>, route: &Route) -> Option<Far> {
    let h2 = peer.tunnels.get(CONNECT).await.ok()?;
    let mut request = Request::new(answer::empty());
    *request.method_mut() = Method::CONNECT;
    *request.version_mut() = Version::HTTP_2;
    *request.uri_mut() = authority(&route.name)?;
    let service = HeaderValue::from_str(&route.name).ok()?;
    request.headers_mut().insert(headers::SERVICE, service);
    let mut sender = h2.sender;
    let sending = sender.send_request(request);
    let answer = hanse_rt::timeout(CONNECT, sending).await.ok()?.ok()?;
    if answer.status() != StatusCode::OK {
        return None;
    }
    let upgraded = hyper::upgrade::on(answer).await.ok()?;
    Some(Far::Peer(TokioIo::new(upgraded), h2.stream))
}

/// `:authority` of a tunnel: `name.namespace:port`, because a slash has no place in one.
fn authority(service: &str) -> Option<Uri> {
    let mut parts = service.split('/');
    let (namespace, name, port) = (parts.next()?, parts.next()?, parts.next()?);
    format!("{name}.{namespace}:{port}").parse().ok()
}

/// Takes a tunnel of another gateway; answers before the bytes flow.
pub(crate) async fn accept(
    shared: &Arc<Shared>,
    route: &Route,
    request: Request<Incoming>,
) -> Response<Body> {
    let began = Mono::now();
    let mut tried = Tried::default();
    for _ in 0..MAX_ATTEMPTS {
        let now = Mono::now();
        let picked = shared.with_rng(|rng| choice::choose_local(route, &tried, now, rng));
        let Some(Picked::Pod(pod)) = picked else {
            break;
        };
        tried.add(&Picked::Pod(Arc::clone(&pod)));
        let Ok(mut stream) = shared.dialer.connect(pod.address, POD_CONNECT).await else {
            pod.outcome.failed(Mono::now());
            continue;
        };
        pod.outcome.succeeded();
        let load = pod.load.begin();
        let (shared, service) = (Arc::clone(shared), Arc::clone(&route.name));
        let tasks = shared.dialer.tasks.clone();
        tasks.spawn("tunnel", async move {
            let code = match hyper::upgrade::on(request).await {
                Ok(upgraded) => {
                    let mut far = TokioIo::new(upgraded);
                    match copy_bidirectional(&mut far, &mut stream).await {
                        Ok(_) => "closed",
                        Err(_) => "broken",
                    }
                }
                Err(_) => "broken",
            };
            shared.counts.request(&service, &shared.cluster, code, began.elapsed());
            drop(load);
        });
        return Response::new(answer::empty());
    }
    answer::unsent(&shared.cluster)
}
