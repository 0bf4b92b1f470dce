//! Everything that crosses an API, as a rolling hash: when, from whom to whom, what was asked and
//! every byte of the answer.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use bytes::Bytes;
use hanse_rt::Mono;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, combinators::UnsyncBoxBody};
use tower::{BoxError, Service};

/// The trace of one run. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    started: Mono,
    state: Arc<Mutex<(u64, u64)>>,
}

impl Trace {
    pub(crate) fn new() -> Self {
        let state = Arc::new(Mutex::new((0xcbf2_9ce4_8422_2325, 0)));
        Self { started: Mono::now(), state }
    }

    /// Adds a record.
    pub(crate) fn record(&self, link: &str, bytes: &[u8]) {
        let now = self.started.elapsed().as_nanos().to_le_bytes();
        let mut state = self.state.lock().expect("no holder of this lock panics");
        for byte in now.iter().chain(link.as_bytes()).chain(bytes) {
            state.0 = (state.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        state.1 += 1;
    }

    /// The hash and how many records went into it.
    pub(crate) fn hash(&self) -> (u64, u64) {
        *self.state.lock().expect("no holder of this lock panics")
    }
}

/// A service whose traffic is traced.
#[derive(Clone, Debug)]
pub(crate) struct Traced<S> {
    inner: S,
    link: Arc<str>,
    trace: Trace,
}

impl<S> Traced<S> {
    pub(crate) fn new(inner: S, link: &str, trace: &Trace) -> Self {
        Self { inner, link: link.into(), trace: trace.clone() }
    }
}

impl<S, Q, P> Service<Request<Q>> for Traced<S>
where
    S: Service<Request<Q>, Response = Response<P>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    P: Body<Data = Bytes> + Send + 'static,
    P::Error: Into<BoxError>,
{
    type Response = Response<UnsyncBoxBody<Bytes, BoxError>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let (trace, link) = (self.trace.clone(), Arc::clone(&self.link));
        trace.record(&link, format!("{} {}", request.method(), request.uri()).as_bytes());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Into::into)?;
            trace.record(&link, answer.status().as_str().as_bytes());
            Ok(answer.map(|body| {
                let body = body.map_frame(move |frame| {
                    if let Some(data) = frame.data_ref() {
                        trace.record(&link, data);
                    }
                    frame
                });
                body.map_err(Into::into).boxed_unsync()
            }))
        })
    }
}
