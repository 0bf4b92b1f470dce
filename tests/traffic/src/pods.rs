//! Pods that answer with `cluster/index` and what they were sent.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hanse_rt::{TaskSet, net};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How a pod treats requests.
#[derive(Clone, Copy, Debug, Default)]
pub struct Behaviour {
    /// Time before it answers.
    pub delay: Duration,
    /// Answers 500.
    pub fails: bool,
    /// Speaks first, then echoes bytes, instead of HTTP.
    pub tcp: bool,
}

/// A running pod.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Where it listens.
    pub address: SocketAddr,
    /// Requests or connections that it saw.
    pub seen: Arc<AtomicUsize>,
    /// Headers of the last request.
    pub last: Arc<Mutex<HeaderMap>>,
    behaviour: Arc<Mutex<Behaviour>>,
    tasks: TaskSet,
}

impl Pod {
    /// Starts a pod that calls itself `name`.
    ///
    /// # Panics
    /// When no port is free.
    pub fn start(tasks: &TaskSet, ip: IpAddr, name: &str, behaviour: Behaviour) -> Self {
        let tasks = tasks.child(name);
        let listener = net::listen(SocketAddr::new(ip, 0)).expect("a free port");
        let pod = Self {
            address: listener.local_addr().expect("a bound listener"),
            seen: Arc::default(),
            last: Arc::default(),
            behaviour: Arc::new(Mutex::new(behaviour)),
            tasks: tasks.clone(),
        };
        let (serving, name) = (pod.clone(), name.to_owned());
        tasks.clone().spawn("pod", async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (pod, name, executor) = (serving.clone(), name.clone(), tasks.clone());
                tasks.spawn("pod connection", async move {
                    if pod.behaviour().tcp {
                        pod.echo(&name, stream).await;
                    } else {
                        pod.http(&name, stream, executor).await;
                    }
                });
            }
        });
        pod
    }

    /// Changes how it treats requests from now on.
    ///
    /// # Panics
    /// Never.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock().expect("no holder panics") = behaviour;
    }

    /// Ends it at once, connections and all.
    pub async fn kill(&self) {
        self.tasks.kill().await;
    }

    fn behaviour(&self) -> Behaviour {
        *self.behaviour.lock().expect("no holder panics")
    }

    async fn http(&self, name: &str, stream: net::TcpStream, executor: TaskSet) {
        let service = service_fn(move |request: Request<Incoming>| {
            let (pod, name) = (self.clone(), name.to_owned());
            async move { Ok::<_, Infallible>(pod.answer(&name, request).await) }
        });
        let builder = auto::Builder::new(executor);
        // A broken connection is what many tests are about.
        drop(builder.serve_connection(TokioIo::new(stream), service).await);
    }

    async fn answer(
        &self,
        name: &str,
        request: Request<Incoming>,
    ) -> Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>> {
        self.seen.fetch_add(1, Ordering::SeqCst);
        let (parts, body) = request.into_parts();
        *self.last.lock().expect("no holder panics") = parts.headers;
        let sent =
            body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let behaviour = self.behaviour();
        hanse_rt::sleep(behaviour.delay).await;
        let text = format!("{name}/{}", String::from_utf8_lossy(&sent));
        let trailers = async {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            Some(Ok(trailers))
        };
        let mut response = if parts.version == http::Version::HTTP_2 {
            Response::new(Full::from(text).with_trailers(trailers).boxed_unsync())
        } else {
            Response::new(Full::from(text).boxed_unsync())
        };
        if behaviour.fails {
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        }
        response
    }

    async fn echo(&self, name: &str, mut stream: net::TcpStream) {
        self.seen.fetch_add(1, Ordering::SeqCst);
        if stream.write_all(format!("{name}\n").as_bytes()).await.is_err() {
            return;
        }
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            let Some(read) = buffer.get(..count) else {
                return;
            };
            if stream.write_all(read).await.is_err() {
                return;
            }
        }
    }
}
