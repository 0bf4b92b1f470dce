//! What can go wrong with a simulated member, and the layer that makes its API suffer it.

use std::{
    collections::BTreeSet,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hanse_rt::Rng;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full, combinators::UnsyncBoxBody};
use tokio::sync::watch;
use tower::{BoxError, Service};

/// The name of the hub as the other end of a link.
pub const HUB: &str = "hub";

/// What is wrong with one member now.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Faults {
    /// No power: everything in it is gone, connections are refused.
    pub killed: bool,
    /// Every process stands still: connections open, nothing answers.
    pub frozen: bool,
    /// Everything between it and the rest of the world is dropped silently.
    pub blackhole: bool,
    /// Added to every round trip.
    pub latency: Duration,
    /// API calls that fail with 500, in a million.
    pub errors_per_million: u32,
    /// Nodes that are lost, counted from the last.
    pub lost_nodes: usize,
    /// Members, or the hub, that it cannot talk to in either direction.
    pub cut: BTreeSet<String>,
}

/// How a message from one end to the other fares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Passage {
    /// It arrives, after this much more than the distance.
    Open(Duration),
    /// It never arrives and nobody says so.
    Silent,
    /// It is refused.
    Refused,
}

/// The state of every link of one end, as watched by those who use it.
#[derive(Clone, Debug)]
pub struct Ends {
    from: (String, watch::Receiver<Faults>),
    to: (String, watch::Receiver<Faults>),
}

impl Ends {
    /// The link between two named ends.
    pub fn new(
        from: (String, watch::Receiver<Faults>),
        to: (String, watch::Receiver<Faults>),
    ) -> Self {
        Self { from, to }
    }

    /// How a message would fare now.
    pub fn passage(&self) -> Passage {
        let (from, to) = (self.from.1.borrow(), self.to.1.borrow());
        let cut = from.cut.contains(&self.to.0) || to.cut.contains(&self.from.0);
        let silent = |faults: &Faults| faults.frozen || faults.blackhole;
        if to.killed || from.killed {
            Passage::Refused
        } else if cut || silent(&from) || silent(&to) {
            Passage::Silent
        } else {
            Passage::Open(from.latency + to.latency)
        }
    }

    /// Resolves when either end changed.
    pub async fn changed(&mut self) {
        let (from, to) = (self.from.1.changed(), self.to.1.changed());
        let ended = hanse_rt::select! {
            changed = from => changed.is_err(),
            changed = to => changed.is_err(),
        };
        if ended {
            std::future::pending::<()>().await;
        }
    }

    /// Resolves when the link no longer fares like `passage`.
    pub async fn left(&mut self, passage: Passage) {
        while self.passage() == passage {
            self.changed().await;
        }
    }
}

/// A client's way to a member's API: the distance, and whatever is wrong with either end.
#[derive(Clone, Debug)]
pub struct Faulty<S> {
    inner: S,
    ends: Ends,
    round_trip: Duration,
    rng: Arc<Mutex<Rng>>,
}

/// The body of an answer; a watch stalls and breaks with its link.
pub type FaultyBody = UnsyncBoxBody<Bytes, BoxError>;

impl<S> Faulty<S> {
    /// Wraps the service of a member's API as seen over this link.
    pub fn new(inner: S, ends: Ends, round_trip: Duration, rng: Rng) -> Self {
        Self { inner, ends, round_trip, rng: Arc::new(Mutex::new(rng)) }
    }
}

impl<S, Q, P> Service<Request<Q>> for Faulty<S>
where
    S: Service<Request<Q>, Response = Response<P>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    Q: Send + 'static,
    P: Body<Data = Bytes> + Send + 'static,
    P::Error: Into<BoxError>,
{
    type Response = Response<FaultyBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let spare = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, spare);
        let (mut ends, half) = (self.ends.clone(), self.round_trip / 2);
        let errors = ends.to.1.borrow().errors_per_million;
        let fails = self.rng.lock().expect("no holder of this lock panics").chance(errors);
        Box::pin(async move {
            travel(&mut ends, half).await?;
            if fails {
                let body = Full::new(Bytes::from_static(b"injected error"));
                let mut answer = Response::new(body.map_err(Into::into).boxed_unsync());
                *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                return Ok(answer);
            }
            let answer = inner.call(request).await.map_err(Into::into)?;
            travel(&mut ends, half).await?;
            Ok(answer.map(|body| Stalling::new(body, ends).boxed_unsync()))
        })
    }
}

/// One way over a link. What was under way when it fell silent is lost: the caller learns of it
/// when the link is back, if it waits that long.
async fn travel(ends: &mut Ends, distance: Duration) -> Result<(), BoxError> {
    match ends.passage() {
        Passage::Refused => Err(refused().into()),
        Passage::Silent => {
            ends.left(Passage::Silent).await;
            Err(io::Error::from(io::ErrorKind::ConnectionReset).into())
        }
        Passage::Open(more) => {
            let wait = distance + more / 2;
            if !wait.is_zero() {
                hanse_rt::sleep(wait).await;
            }
            Ok(())
        }
    }
}

fn refused() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionRefused)
}

/// A body that holds its frames while the link is silent and breaks when it was.
struct Stalling<P> {
    inner: Pin<Box<P>>,
    ends: Ends,
    broken: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<P> Stalling<P> {
    fn new(body: P, ends: Ends) -> Self {
        let mut link = ends.clone();
        let watch = async move {
            while matches!(link.passage(), Passage::Open(_)) {
                link.changed().await;
            }
            link.left(Passage::Silent).await;
        };
        Self { inner: Box::pin(body), ends, broken: Some(Box::pin(watch)) }
    }
}

impl<P> Body for Stalling<P>
where
    P: Body<Data = Bytes>,
    P::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(broken) = &mut self.broken
            && broken.as_mut().poll(context).is_ready()
        {
            self.broken = None;
            return Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::ConnectionReset).into())));
        }
        if !matches!(self.ends.passage(), Passage::Open(_)) {
            // The watch of the link above wakes this task.
            return Poll::Pending;
        }
        let frame = ready!(self.inner.as_mut().poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tower::ServiceExt as _;

    use super::*;

    struct Case {
        hub: watch::Sender<Faults>,
        member: watch::Sender<Faults>,
    }

    impl Case {
        fn new() -> Self {
            Self { hub: watch::Sender::default(), member: watch::Sender::default() }
        }

        fn ends(&self) -> Ends {
            Ends::new(
                (HUB.to_owned(), self.hub.subscribe()),
                ("a".to_owned(), self.member.subscribe()),
            )
        }

        async fn call(&self) -> Result<StatusCode, BoxError> {
            let answer = |_: Request<()>| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"hello"))))
            };
            let service = Faulty::new(
                tower::service_fn(answer),
                self.ends(),
                Duration::from_millis(80),
                Rng::from_seed(1),
            );
            Ok(service.oneshot(Request::new(())).await?.status())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_takes_the_round_trip_and_a_killed_member_refuses_it() {
        let case = Case::new();
        let started = hanse_rt::Mono::now();
        assert_eq!(case.call().await.unwrap(), StatusCode::OK);
        assert_eq!(started.elapsed(), Duration::from_millis(80));
        case.member.send_modify(|faults| faults.killed = true);
        assert_eq!(case.call().await.unwrap_err().to_string(), "connection refused");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cut_link_is_silent_and_resets_what_waited_when_it_heals() {
        let case = Case::new();
        case.member.send_modify(|faults| faults.cut.extend([HUB.to_owned()]));
        let waiting = hanse_rt::timeout(Duration::from_secs(30), case.call()).await;
        assert!(waiting.is_err());
        let (answer, ()) = futures::join!(case.call(), async {
            hanse_rt::sleep(Duration::from_secs(1)).await;
            case.member.send_modify(|faults| faults.cut.clear());
        });
        assert_eq!(answer.unwrap_err().to_string(), "connection reset");
        assert_eq!(case.call().await.unwrap(), StatusCode::OK);
    }

    #[tokio::test(start_paused = true)]
    async fn injected_errors_are_answers_of_the_server() {
        let case = Case::new();
        case.member.send_modify(|faults| faults.errors_per_million = 1_000_000);
        assert_eq!(case.call().await.unwrap(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
