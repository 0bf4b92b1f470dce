//! One attempt: a request to one pod or one gateway, and how it ended. The difference between
//! "reached nobody" and "may have been seen" is what retries depend on.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hanse_rt::Mono;
use hanse_xds::{Level, Protocol};
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, Uri, Version, header, uri::PathAndQuery,
};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};

use crate::{
    answer::{self, Body, BodyError},
    headers,
    pool::{ConnectError, StreamUse},
    table::{Endpoint, InFlight, PeerAddress},
};

/// The head of a request, kept for each attempt.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) method: Method,
    pub(crate) authority: String,
    pub(crate) path: PathAndQuery,
    pub(crate) headers: HeaderMap,
}

/// The body of a request over its attempts.
pub(crate) enum Outgoing {
    /// Kept whole: may be sent again.
    Whole(Bytes),
    /// Passed through once; none when it is on its way.
    Stream(Option<Body>),
}

impl Outgoing {
    fn take(&mut self) -> Option<Body> {
        match self {
            Self::Whole(bytes) if bytes.is_empty() => Some(answer::empty()),
            Self::Whole(bytes) => Some(answer::full(bytes.clone())),
            Self::Stream(body) => body.take(),
        }
    }

    fn put_back(&mut self, body: Body) {
        if let Self::Stream(slot) = self {
            *slot = Some(body);
        }
    }

    /// Whether another attempt has a body to send.
    pub(crate) const fn is_there(&self) -> bool {
        match self {
            Self::Whole(_) => true,
            Self::Stream(body) => body.is_some(),
        }
    }
}

/// How an attempt ended.
pub(crate) enum Attempt {
    /// With an answer of the application, or of the other gateway.
    Answered(Response<Body>),
    /// It reached nobody.
    Unsent(ConnectError),
    /// It may have been seen, and no answer will come. True: the whole place went away.
    Lost {
        /// The peer is down, so that everything under way to it is lost at once.
        fallen: bool,
    },
}

/// Sends to a pod of the own cluster.
pub(crate) async fn to_pod(
    pod: &Arc<Endpoint>,
    protocol: Protocol,
    head: &Head,
    body: &mut Outgoing,
    connect: Duration,
) -> Attempt {
    let began = Mono::now();
    let in_flight = pod.load.begin();
    let attempt = match protocol {
        Protocol::Grpc => {
            let Some(request) = h2_request(head, body) else {
                return Attempt::Lost { fallen: false };
            };
            match pod.h2.get(connect).await {
                Err(error) => {
                    body.put_back(request.into_body());
                    Attempt::Unsent(error)
                }
                Ok(h2) => {
                    let mut sender = h2.sender;
                    let sent = sender.try_send_request(request).await;
                    settle(sent, body, |answer| Passing::h2(answer, in_flight, h2.stream))
                }
            }
        }
        Protocol::Http | Protocol::Tcp => h1(pod, head, body, connect, in_flight).await,
    };
    note(&pod.load, &attempt, began);
    attempt
}

async fn h1(
    pod: &Arc<Endpoint>,
    head: &Head,
    body: &mut Outgoing,
    connect: Duration,
    in_flight: InFlight,
) -> Attempt {
    loop {
        let mut connection = match pod.h1.get(connect).await {
            Ok(connection) => connection,
            Err(error) => return Attempt::Unsent(error),
        };
        let Some(request) = h1_request(head, body) else {
            return Attempt::Lost { fallen: false };
        };
        let sent = connection.sender.try_send_request(request).await;
        let mut answer = match sent {
            Ok(answer) => answer,
            Err(mut error) => match error.take_message() {
                // A kept connection that its pod had closed meanwhile: take the next.
                Some(request) if connection.reused => {
                    body.put_back(request.into_body());
                    continue;
                }
                Some(request) => {
                    body.put_back(request.into_body());
                    return Attempt::Unsent(ConnectError::Failed);
                }
                None => return Attempt::Lost { fallen: false },
            },
        };
        *answer.version_mut() = Version::HTTP_11;
        let pod = Arc::clone(pod);
        return Attempt::Answered(
            answer.map(|inner| Passing::h1(inner, in_flight, pod, connection.sender)),
        );
    }
}

/// Sends to another gateway.
pub(crate) async fn to_peer(
    peer: &Arc<PeerAddress>,
    service: &str,
    head: &Head,
    body: &mut Outgoing,
    connect: Duration,
    left: Duration,
) -> Attempt {
    let began = Mono::now();
    let in_flight = peer.load.begin();
    let h2 = match peer.requests.get(connect).await {
        Ok(h2) => h2,
        Err(error) => {
            peer.load.failed();
            return Attempt::Unsent(error);
        }
    };
    let Some(mut request) = h2_request(head, body) else {
        return Attempt::Lost { fallen: false };
    };
    let map = request.headers_mut();
    if let Ok(service) = HeaderValue::from_str(service) {
        map.insert(headers::SERVICE, service);
    }
    let millis = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    map.insert(headers::TIMEOUT, millis.into());
    let mut sender = h2.sender;
    let sent = sender.try_send_request(request).await;
    let mut attempt = settle(sent, body, |answer| Passing::h2(answer, in_flight, h2.stream));
    match &mut attempt {
        Attempt::Answered(_) => peer.health.heard(Mono::now()),
        Attempt::Lost { fallen } => *fallen = peer.health.level() == Level::Down,
        Attempt::Unsent(_) => {}
    }
    note(&peer.load, &attempt, began);
    attempt
}

fn settle(
    sent: Result<Response<Incoming>, TrySendError<Request<Body>>>,
    body: &mut Outgoing,
    pass: impl FnOnce(Incoming) -> Body,
) -> Attempt {
    match sent {
        Ok(mut answer) => {
            *answer.version_mut() = Version::HTTP_11;
            Attempt::Answered(answer.map(pass))
        }
        Err(mut error) => match error.take_message() {
            Some(request) => {
                body.put_back(request.into_body());
                Attempt::Unsent(ConnectError::Failed)
            }
            None if was_refused(error.error()) => Attempt::Unsent(ConnectError::Failed),
            None => Attempt::Lost { fallen: false },
        },
    }
}

/// REFUSED_STREAM, and GOAWAY below this stream, promise that nobody saw the request.
fn was_refused(error: &hyper::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(h2) = inner.downcast_ref::<h2::Error>() {
            return h2.reason() == Some(h2::Reason::REFUSED_STREAM);
        }
        source = inner.source();
    }
    false
}

fn note(load: &crate::table::Load, attempt: &Attempt, began: Mono) {
    match attempt {
        Attempt::Answered(answer) if !answer.status().is_server_error() => {
            load.answered(began.elapsed());
        }
        _ => load.failed(),
    }
}

fn h1_request(head: &Head, body: &mut Outgoing) -> Option<Request<Body>> {
    let mut request = Request::new(body.take()?);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = Uri::from(head.path.clone());
    *request.headers_mut() = head.headers.clone();
    let host = HeaderValue::from_str(&head.authority).ok()?;
    request.headers_mut().insert(header::HOST, host);
    Some(request)
}

fn h2_request(head: &Head, body: &mut Outgoing) -> Option<Request<Body>> {
    let uri = Uri::builder()
        .scheme("http")
        .authority(head.authority.as_str())
        .path_and_query(head.path.clone())
        .build()
        .ok()?;
    let mut request = Request::new(body.take()?);
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = head.headers.clone();
    request.headers_mut().remove(header::HOST);
    Some(request)
}

/// The body of an answer on its way through; what it holds is released at its end.
struct Passing {
    inner: Incoming,
    in_flight: Option<InFlight>,
    stream: Option<StreamUse>,
    connection: Option<(Arc<Endpoint>, http1::SendRequest<Body>)>,
}

impl Passing {
    fn h1(
        inner: Incoming,
        in_flight: InFlight,
        pod: Arc<Endpoint>,
        sender: http1::SendRequest<Body>,
    ) -> Body {
        Self::boxed(inner, in_flight, None, Some((pod, sender)))
    }

    fn h2(inner: Incoming, in_flight: InFlight, stream: StreamUse) -> Body {
        Self::boxed(inner, in_flight, Some(stream), None)
    }

    fn boxed(
        inner: Incoming,
        in_flight: InFlight,
        stream: Option<StreamUse>,
        connection: Option<(Arc<Endpoint>, http1::SendRequest<Body>)>,
    ) -> Body {
        let mut passing = Self { inner, in_flight: Some(in_flight), stream, connection };
        if passing.inner.is_end_stream() {
            passing.release();
        }
        passing.boxed_unsync()
    }

    fn release(&mut self) {
        self.in_flight = None;
        self.stream = None;
        if let Some((pod, sender)) = self.connection.take() {
            pod.h1.put_back(sender);
        }
    }
}

impl HttpBody for Passing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if frame.is_none() || self.inner.is_end_stream() {
            self.release();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
