//! The second hop: requests of other gateways go to pods of this cluster and never onward, so
//! that two gateways with stale snapshots cannot send a request back and forth. What reached no
//! pod is given back as unsent; what may have been seen is not repeated here.

use std::{sync::Arc, time::Duration};

use hanse_rt::Mono;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use tracing::Instrument as _;

use crate::{
    answer::{self, Body, Failure},
    choice::{self, Picked, Tried},
    forward, headers,
    outbound::{self, Attempt},
    retry::MAX_ATTEMPTS,
    table::Route,
    tunnel,
    worker::Shared,
};

/// Asked by the probes of other gateways.
pub(crate) const PROBE_PATH: &str = "/.hanse/probe";
/// Limit for connecting to a pod of the own cluster.
pub(crate) const POD_CONNECT: Duration = Duration::from_secs(1);

/// Answers a request on the hop between gateways.
pub(crate) async fn answer(shared: Arc<Shared>, mut request: Request<Incoming>) -> Response<Body> {
    let began = Mono::now();
    let Some(service) = service(&request) else {
        if request.uri().path() == PROBE_PATH {
            let mut alive = Response::new(answer::empty());
            *alive.status_mut() = StatusCode::NO_CONTENT;
            return alive;
        }
        return answer::failure(&shared.cluster, Failure::DestinationNotFound);
    };
    let limit = headers::timeout(request.headers());
    headers::strip_own(request.headers_mut());
    let route = shared.table.load().routes.get(&service).cloned();
    let Some(route) = route else {
        return answer::unsent(&shared.cluster);
    };
    if request.method() == Method::CONNECT {
        return tunnel::accept(&shared, &route, request).await;
    }
    let limit = limit.map_or(route.timeout, |limit| limit.min(route.timeout));
    let caller = shared.with_rng(|rng| headers::caller(request.headers(), rng));
    let span = tracing::info_span!("hop", %service, trace_id = %caller.trace_id());
    caller.adopt(&span);
    shared.with_rng(|rng| headers::hand_on(request.headers_mut(), &caller, &span, rng));
    let mut response = to_local_pod(&shared, &route, request, began + limit).instrument(span).await;
    headers::strip_hop_by_hop(response.headers_mut());
    let code = response.status();
    shared.counts.request(&service, &shared.cluster, code.as_str(), began.elapsed());
    response
}

fn service(request: &Request<Incoming>) -> Option<String> {
    let value = request.headers().get(headers::SERVICE)?;
    value.to_str().ok().map(ToOwned::to_owned)
}

async fn to_local_pod(
    shared: &Arc<Shared>,
    route: &Route,
    request: Request<Incoming>,
    deadline: Mono,
) -> Response<Body> {
    let fail = |failure| answer::failure(&shared.cluster, failure);
    let Some((head, mut body)) = forward::prepare(request, deadline).await else {
        return fail(Failure::RequestError);
    };
    let mut tried = Tried::default();
    for _ in 0..MAX_ATTEMPTS {
        let now = Mono::now();
        let picked = shared.with_rng(|rng| choice::choose_local(route, &tried, now, rng));
        let Some(Picked::Pod(pod)) = picked else {
            break;
        };
        tried.add(&Picked::Pod(Arc::clone(&pod)));
        let left = deadline.saturating_duration_since(now);
        let sending = outbound::to_pod(&pod, route.protocol, &head, &mut body, POD_CONNECT);
        match hanse_rt::timeout(left, sending).await {
            Err(_) => {
                pod.outcome.failed(Mono::now());
                return fail(Failure::ResponseTimeout);
            }
            Ok(Attempt::Answered(mut answer)) => {
                if answer.status().is_server_error() {
                    pod.outcome.failed(Mono::now());
                } else {
                    pod.outcome.succeeded();
                }
                // Only a gateway may say that a request was not sent.
                headers::strip_own(answer.headers_mut());
                return answer;
            }
            Ok(Attempt::Unsent(_)) => {
                pod.outcome.failed(Mono::now());
                shared.counts.retry(&route.name, "Unsent");
            }
            Ok(Attempt::Lost { .. }) => {
                pod.outcome.failed(Mono::now());
                return fail(Failure::ConnectionTerminated);
            }
        }
        if !body.is_there() {
            return fail(Failure::ConnectionTerminated);
        }
    }
    answer::unsent(&shared.cluster)
}
