//! The first hop: takes a request from a client, chooses where it goes, and tries again where
//! that is safe.

use std::{sync::Arc, time::Duration};

use hanse_rt::Mono;
use hanse_xds::Level;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, uri::Authority};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tracing::Instrument as _;

use crate::{
    answer::{self, Body, Failure},
    choice::{self, Picked, Tried},
    headers,
    outbound::{self, Attempt, Head, Outgoing},
    pool::{CONNECT, ConnectError},
    retry::{MAX_ATTEMPTS, is_idempotent},
    table::Route,
    worker::Shared,
};

/// Bodies of requests up to this size are kept until the answer, so that they can be sent again;
/// bodies of answers up to this size are taken in before they are passed on.
const REPLAYABLE: u64 = 64 << 10;
/// Requests of all services under way at most.
const MAX_IN_FLIGHT: usize = 8192;
/// How long a request waits for a connection while another place could take it.
const IMPATIENT: Duration = Duration::from_millis(250);

/// Answers a client's request on the port of `service`.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    service: Arc<str>,
    mut request: Request<Incoming>,
) -> Response<Body> {
    let began = Mono::now();
    let explain = request.headers().contains_key(headers::EXPLAIN);
    headers::strip_own(request.headers_mut());
    let caller = shared.with_rng(|rng| headers::caller(request.headers(), rng));
    let span = tracing::info_span!(
        "request",
        %service,
        method = %request.method(),
        trace_id = %caller.trace_id(),
        cluster = tracing::field::Empty,
        status = tracing::field::Empty,
    );
    caller.adopt(&span);
    shared.with_rng(|rng| headers::hand_on(request.headers_mut(), &caller, &span, rng));
    let (cluster, mut response) =
        forward(&shared, &service, request).instrument(span.clone()).await;
    let code = response.status();
    span.record("cluster", &cluster);
    span.record("status", code.as_u16());
    shared.counts.request(&service, &cluster, code.as_str(), began.elapsed());
    headers::strip_hop_by_hop(response.headers_mut());
    headers::strip_own(response.headers_mut());
    if explain && let Ok(cluster) = HeaderValue::from_str(&cluster) {
        response.headers_mut().insert(headers::CLUSTER, cluster);
    }
    response
}

/// The answer, and the cluster it came from (empty: from nowhere).
async fn forward(
    shared: &Arc<Shared>,
    service: &str,
    request: Request<Incoming>,
) -> (String, Response<Body>) {
    let refuse = |failure| (String::new(), answer::failure(&shared.cluster, failure));
    let Some(route) = shared.table.load().routes.get(service).cloned() else {
        return refuse(Failure::DestinationNotFound);
    };
    if shared.load.in_flight() >= MAX_IN_FLIGHT {
        return refuse(Failure::ConnectionLimitReached);
    }
    let _in_flight = shared.load.begin();
    let upgrade = request.headers().get(header::UPGRADE);
    if request.method() == Method::CONNECT || upgrade.is_some_and(|to| to != "h2c") {
        return refuse(Failure::RequestDenied);
    }
    let deadline = Mono::now() + route.timeout;
    let Some((head, mut body)) = prepare(request, deadline).await else {
        return refuse(Failure::RequestError);
    };
    route.ledger.request(Mono::now());
    match attempts(shared, &route, &head, &mut body, deadline).await {
        Ok(answered) => answered,
        Err(failure) => refuse(failure),
    }
}

/// Splits a request; none when it cannot be carried, or its small body does not arrive.
pub(crate) async fn prepare(
    request: Request<Incoming>,
    deadline: Mono,
) -> Option<(Head, Outgoing)> {
    let (mut parts, body) = request.into_parts();
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return None;
    }
    let authority = match (parts.uri.authority(), host) {
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => Authority::try_from(host.as_bytes()).ok()?,
        (None, None) => Authority::from_static("localhost"),
    };
    headers::strip_hop_by_hop(&mut parts.headers);
    let head = Head {
        method: parts.method,
        authority: authority.to_string(),
        path: parts
            .uri
            .path_and_query()
            .cloned()
            .unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")),
        headers: parts.headers,
    };
    let small = body.size_hint().exact().is_some_and(|size| size <= REPLAYABLE);
    let body = if small {
        let left = deadline.saturating_duration_since(Mono::now());
        let whole = hanse_rt::timeout(left, body.collect()).await.ok()?.ok()?;
        Outgoing::Whole(whole.to_bytes())
    } else {
        Outgoing::Stream(Some(body.map_err(Into::into).boxed_unsync()))
    };
    Some((head, body))
}

async fn attempts(
    shared: &Arc<Shared>,
    route: &Route,
    head: &Head,
    body: &mut Outgoing,
    deadline: Mono,
) -> Result<(String, Response<Body>), Failure> {
    let mut tried = Tried::default();
    let mut judge = Judge { route, head, resent: 0, failure: Failure::DestinationUnavailable };
    for _ in 0..MAX_ATTEMPTS {
        let now = Mono::now();
        let left = deadline.saturating_duration_since(now);
        let wall = shared.wall.now().as_second();
        let picked = shared.with_rng(|rng| choice::choose(route, &tried, wall, now, rng));
        let Some(picked) = picked else { break };
        let connect = if choice::has_alternative(route, &tried, &picked, wall, now) {
            IMPATIENT
        } else {
            CONNECT
        };
        tried.add(&picked);
        let sending = async {
            let attempt = send(route, &picked, head, body, connect, left).await;
            let repeatable = is_idempotent(&head.method) && body.is_there();
            if repeatable { whole(attempt, &picked).await } else { attempt }
        };
        let Ok(attempt) = hanse_rt::timeout(left, sending).await else {
            note(&picked, false);
            return Err(Failure::ResponseTimeout);
        };
        match judge.next(&picked, attempt, body) {
            Next::Answer(answer) => return Ok((shared.name(&picked).to_owned(), answer)),
            Next::GiveUp => break,
            Next::Again(reason) => {
                shared.counts.retry(&route.name, reason);
                tracing::debug!(to = shared.name(&picked), reason, "attempt failed");
            }
        }
    }
    Err(judge.failure)
}

/// What follows from one attempt.
enum Next {
    Answer(Response<Body>),
    /// Try elsewhere, for this reason.
    Again(&'static str),
    GiveUp,
}

/// Decides after each attempt of one request.
struct Judge<'a> {
    route: &'a Route,
    head: &'a Head,
    /// How often it was sent again although it may have been seen before: twice at most, since a
    /// region's clusters die one after the other and the second place may fall under the request.
    resent: usize,
    /// What the client is told when nothing answers.
    failure: Failure,
}

impl Judge<'_> {
    fn next(&mut self, picked: &Picked, attempt: Attempt, body: &Outgoing) -> Next {
        let reason = match attempt {
            Attempt::Answered(answer) if is_unsent(picked, &answer) => "NoPod",
            Attempt::Answered(answer) => {
                let bad = answer.status().is_server_error();
                note(picked, !bad);
                let gateway_failed = bad && is_gateway_made(&answer);
                if !gateway_failed || !self.may_resend(body, false) {
                    return Next::Answer(answer);
                }
                "GatewayFailed"
            }
            Attempt::Unsent(error) => {
                // Not reaching a gateway is evidence about all of its cluster: the probe's.
                if let Picked::Pod(_) = picked {
                    note(picked, false);
                }
                match error {
                    ConnectError::Refused => "Refused",
                    ConnectError::Failed => "NotConnected",
                }
            }
            Attempt::Lost { fallen } => {
                if !fallen {
                    note(picked, false);
                }
                self.failure = Failure::ConnectionTerminated;
                if !self.may_resend(body, fallen) {
                    return Next::GiveUp;
                }
                if fallen { "PeerFell" } else { "Lost" }
            }
        };
        if body.is_there() { Next::Again(reason) } else { Next::GiveUp }
    }

    /// Whether a request that may have been seen goes out again: only one that can be repeated, and
    /// within the budget, unless its whole place went away.
    fn may_resend(&mut self, body: &Outgoing, fallen: bool) -> bool {
        let route = self.route;
        let may = self.resent < MAX_ATTEMPTS - 1
            && is_idempotent(&self.head.method)
            && body.is_there()
            && (fallen || route.ledger.grant(Mono::now(), route.retry_budget_percent));
        self.resent += usize::from(may);
        may
    }
}

/// Takes a small answer in before it is passed on, so that a place that dies between head and
/// body costs a repeatable request nothing.
async fn whole(attempt: Attempt, picked: &Picked) -> Attempt {
    let Attempt::Answered(answer) = attempt else {
        return attempt;
    };
    let small = answer.body().size_hint().exact().is_some_and(|size| size <= REPLAYABLE);
    if !small {
        return Attempt::Answered(answer);
    }
    let (parts, body) = answer.into_parts();
    match body.collect().await {
        Ok(body) => {
            let body = body.map_err(|never| match never {}).boxed_unsync();
            Attempt::Answered(Response::from_parts(parts, body))
        }
        Err(_) => Attempt::Lost {
            fallen: matches!(picked, Picked::Peer(peer, _) if peer.health.level() == Level::Down),
        },
    }
}

async fn send(
    route: &Route,
    picked: &Picked,
    head: &Head,
    body: &mut Outgoing,
    connect: Duration,
    left: Duration,
) -> Attempt {
    match picked {
        Picked::Pod(pod) => outbound::to_pod(pod, route.protocol, head, body, connect).await,
        Picked::Peer(peer, _) => {
            outbound::to_peer(peer, &route.name, head, body, connect, left).await
        }
    }
}

fn note(picked: &Picked, good: bool) {
    let outcome = match picked {
        Picked::Pod(pod) => &pod.outcome,
        Picked::Peer(_, outcome) => outcome.as_ref(),
    };
    if good {
        outcome.succeeded();
    } else {
        outcome.failed(Mono::now());
    }
}

pub(crate) fn is_unsent(picked: &Picked, answer: &Response<Body>) -> bool {
    matches!(picked, Picked::Peer(..))
        && answer.status() == StatusCode::SERVICE_UNAVAILABLE
        && answer.headers().contains_key(headers::UNSENT)
}

/// Whether the other gateway made the answer, not the application.
fn is_gateway_made(answer: &Response<Body>) -> bool {
    answer
        .headers()
        .get(headers::PROXY_STATUS)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|text| text.starts_with("hanse-") && text.contains("error="))
}
