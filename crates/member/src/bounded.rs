//! A client whose every call ends: kube bounds no list, get or patch, and no opening of a watch,
//! so an answer lost in a cut would be awaited for ever.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures::StreamExt as _;
use hanse_rt::{Elapsed, Mono, trace::TraceParent};
use http::{Request, Response, StatusCode};
use http_body_util::{
    BodyExt as _, BodyStream, Full, Limited, StreamBody, combinators::UnsyncBoxBody,
};
use hyper::body::{Body as HttpBody, Bytes, Frame};
use kube::{Client, client::Body};
use tower::{BoxError, Service, ServiceExt as _};

/// Limits of a member's client.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Until a connection stands. Default 3 s.
    pub connect: Duration,
    /// Until a call is answered in full. Default 10 s.
    pub call: Duration,
    /// Until a watch is opened. Default 10 s.
    pub open: Duration,
    /// Largest answer, bytes; a list comes in pages below it. Default 64 MiB.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            call: Duration::from_secs(10),
            open: Duration::from_secs(10),
            body: 64 << 20,
        }
    }
}

type Answer = UnsyncBoxBody<Bytes, BoxError>;

/// A share of the calls that may be tried again, so that a sick member is not buried in retries:
/// each call earns a tenth of a retry, and no more than ten are saved up.
#[derive(Debug)]
struct RetryBudget(AtomicI64);

impl RetryBudget {
    const FULL: i64 = 100;

    fn earn(&self) {
        if self.0.load(Ordering::Relaxed) < Self::FULL {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn spend(&self) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| {
                (saved >= 10).then_some(saved - 10)
            })
            .is_ok()
    }
}

/// The same client with limits, as [`bounded_client`] sets them.
pub fn bounded(client: Client, limits: Limits) -> Client {
    let namespace = client.default_namespace().to_owned();
    let service = tower::service_fn(move |request| {
        let client = client.clone();
        async move { client.send(request).await }
    });
    bounded_client(service, limits, namespace)
}

/// A client with limits, of what answers requests. Calls that the server asks to repeat (429, 503)
/// are repeated once, within a budget; everything else is the caller's to decide. A call made in an
/// exported span carries it.
///
/// Each client has a queue and a task of its own, so who has a service does not make two of it.
pub fn bounded_client<S, B>(service: S, limits: Limits, namespace: impl Into<String>) -> Client
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let budget = Arc::new(RetryBudget(AtomicI64::new(RetryBudget::FULL)));
    let service = tower::service_fn(move |mut request: Request<Body>| {
        TraceParent::inject(request.headers_mut());
        call(service.clone(), limits, Arc::clone(&budget), request)
    });
    Client::new(service, namespace)
}

async fn call<S, B>(
    service: S,
    limits: Limits,
    budget: Arc<RetryBudget>,
    request: Request<Body>,
) -> Result<Response<Answer>, BoxError>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let send = move |request| {
        let asked = service.clone().oneshot(request);
        async move { asked.await.map_err(Into::into) }
    };
    if let Some(life) = watch_life(&request) {
        let answer = hanse_rt::timeout(limits.open, send(request)).await??;
        return Ok(answer.map(|body| ending(body, life)));
    }
    let answer = hanse_rt::timeout(limits.call, async move {
        let (parts, body) = request.into_parts();
        let bytes = body.collect().await?.to_bytes();
        let again = || Request::from_parts(parts.clone(), Body::from(bytes.to_vec()));
        budget.earn();
        let answer = send(again()).await?;
        let Some(wait) = repeat_after(&answer).filter(|_| budget.spend()) else {
            return whole(answer, limits.body).await;
        };
        hanse_rt::sleep(wait).await;
        whole(send(again()).await?, limits.body).await
    });
    answer.await?
}

/// How long the server may keep a watch open, if the request opens one: what the request asks for,
/// and ten seconds. Kubernetes' own limit is 30 to 60 minutes where it asks for nothing.
fn watch_life(request: &Request<Body>) -> Option<Duration> {
    let query = request.uri().query().unwrap_or_default();
    if !query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")) {
        return None;
    }
    let asked = query.split('&').find_map(|pair| pair.strip_prefix("timeoutSeconds="));
    let seconds = asked.and_then(|value| value.parse().ok()).unwrap_or(3600_u64);
    Some(Duration::from_secs(seconds.saturating_add(10)))
}

/// A stream that a cut has silenced never ends by itself: this one breaks off when the server
/// should long have ended it.
fn ending<B>(body: B, life: Duration) -> Answer
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let deadline = Mono::now() + life;
    let frames = Some(Box::pin(BodyStream::new(body)));
    let frames = futures::stream::unfold(frames, move |frames| async move {
        let mut frames = frames?;
        let next: Option<Result<Frame<Bytes>, BoxError>> = hanse_rt::select! {
            frame = frames.next() => frame.map(|frame| frame.map_err(Into::into)),
            () = hanse_rt::sleep_until(deadline) => Some(Err(Elapsed(life).into())),
        };
        let next = next?;
        let rest = next.is_ok().then_some(frames);
        Some((next, rest))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// How long the server asks to wait before the call is repeated, at most a second.
fn repeat_after<B>(answer: &Response<B>) -> Option<Duration> {
    let repeatable = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    if !repeatable.contains(&answer.status()) {
        return None;
    }
    let asked = answer.headers().get(http::header::RETRY_AFTER);
    let seconds = asked.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    Some(
        seconds.map_or(Duration::from_millis(100), Duration::from_secs).min(Duration::from_secs(1)),
    )
}

async fn whole<B>(answer: Response<B>, limit: usize) -> Result<Response<Answer>, BoxError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let (parts, body) = answer.into_parts();
    let bytes = Limited::new(body, limit).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, Full::new(bytes).map_err(|never| match never {}).boxed_unsync()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    type Answered = Result<Response<Body>, BoxError>;

    fn client<F>(answer: impl Fn(usize) -> F + Send + 'static) -> (Client, Arc<AtomicUsize>)
    where
        F: Future<Output = Answered> + Send + 'static,
    {
        let calls = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&calls);
        let service =
            tower::service_fn(move |_: Request<Body>| answer(seen.fetch_add(1, Ordering::Relaxed)));
        (bounded(Client::new(service, "default"), Limits::default()), calls)
    }

    fn request(uri: &str) -> Request<Body> {
        Request::get(uri).body(Body::empty()).unwrap()
    }

    fn status(code: StatusCode) -> Answered {
        Ok(Response::builder().status(code).body(Body::empty())?)
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_never_answered_ends() {
        let (client, _) = client(|_| std::future::pending());
        let error = client.send(request("/api/v1/nodes")).await.unwrap_err();
        assert!(format!("{error:?}").contains("Elapsed"), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_is_never_opened_ends() {
        let (client, _) = client(|_| std::future::pending());
        assert!(client.send(request("/api/v1/nodes?&watch=true")).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_falls_silent_breaks_off_after_its_time() {
        let service = tower::service_fn(|_: Request<Body>| async {
            let silence = futures::stream::pending::<Result<Frame<Bytes>, BoxError>>();
            Ok::<_, BoxError>(Response::new(StreamBody::new(silence)))
        });
        let client = bounded(Client::new(service, "default"), Limits::default());
        let started = Mono::now();
        let answer = client.send(request("/api/v1/nodes?watch=true&timeoutSeconds=60")).await;
        let error = answer.unwrap().into_body().collect().await.unwrap_err();
        assert_eq!(started.elapsed(), Duration::from_secs(70));
        assert!(format!("{error:?}").contains("Elapsed"), "{error:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_server_is_asked_once_more() {
        let (client, calls) = client(|call| async move {
            status(if call == 0 { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK })
        });
        let answer = client.send(request("/version")).await.unwrap();
        assert_eq!((answer.status(), calls.load(Ordering::Relaxed)), (StatusCode::OK, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end_when_their_budget_is_spent() {
        let (client, calls) = client(|_| async { status(StatusCode::SERVICE_UNAVAILABLE) });
        for _ in 0..100 {
            let answer = client.send(request("/version")).await.unwrap();
            assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        }
        let retries = calls.load(Ordering::Relaxed) - 100;
        assert!((10..=21).contains(&retries), "{retries} retries for 100 calls");
    }
}
