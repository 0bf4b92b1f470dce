//! What simulated pods answer. Each container port of a running pod accepts HTTP/1.1, HTTP/2,
//! gRPC and plain lines, and names cluster and pod in its answer, so that gateways carry real
//! traffic and a reader sees who answered.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Mutex,
    time::Duration,
};

use bytes::Bytes;
use hanse_rt::{
    TaskSet,
    net::{self, AddressMap, TcpListener, TcpStream},
};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::kubelet::{Pod, Runtime};

/// A client that says nothing for this long speaks no HTTP; it gets the pod's name as a line.
const SILENCE: Duration = Duration::from_secs(5);
/// Request bodies beyond this are cut off: an echo is no file server.
const BODY: usize = 1 << 20;

/// Opens and closes the ports of pods.
#[derive(Debug)]
pub struct Responders {
    cluster: String,
    tasks: TaskSet,
    addresses: AddressMap,
    pods: Mutex<BTreeMap<String, TaskSet>>,
}

impl Responders {
    /// Responders of one member; ports that cannot be had on the pod's own address are opened
    /// elsewhere and entered into `addresses`.
    pub fn new(cluster: &str, tasks: &TaskSet, addresses: AddressMap) -> Self {
        let tasks = tasks.child("pods");
        Self { cluster: cluster.to_owned(), tasks, addresses, pods: Mutex::default() }
    }

    fn open(&self, pod: &Pod, port: u16) -> Option<TcpListener> {
        let published = SocketAddr::new(IpAddr::V4(pod.ip), port);
        match net::listen(self.addresses.resolve(published)) {
            Ok(listener) => Some(listener),
            Err(first) => {
                let elsewhere = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0);
                let opened = net::listen(elsewhere)
                    .and_then(|listener| Ok((listener.local_addr()?, listener)));
                match opened {
                    Ok((address, listener)) => {
                        self.addresses.insert(published, address);
                        Some(listener)
                    }
                    Err(error) => {
                        tracing::warn!(pod = pod.name, port, %first, %error, "port not opened");
                        None
                    }
                }
            }
        }
    }
}

impl Runtime for Responders {
    fn start(&self, pod: &Pod) {
        let mut pods = self.pods.lock().expect("no holder of this lock panics");
        if pods.contains_key(&pod.uid) {
            return;
        }
        let tasks = self.tasks.child(&pod.name);
        for port in &pod.ports {
            let Some(listener) = self.open(pod, *port) else {
                continue;
            };
            let (identity, connections) = (identity(&self.cluster, pod), tasks.clone());
            tasks.spawn("responder", accept(listener, identity, connections));
        }
        pods.insert(pod.uid.clone(), tasks);
    }

    fn stop(&self, uid: &str) {
        if let Some(tasks) = self.pods.lock().expect("no holder of this lock panics").remove(uid) {
            tasks.abort();
        }
    }
}

/// A kubelet runtime whose pods answer nothing: for simulations without sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mute;

impl Runtime for Mute {
    fn start(&self, _: &Pod) {}
    fn stop(&self, _: &str) {}
}

#[derive(Clone, Debug)]
struct Identity {
    cluster: String,
    namespace: String,
    pod: String,
}

fn identity(cluster: &str, pod: &Pod) -> Identity {
    Identity {
        cluster: cluster.to_owned(),
        namespace: pod.namespace.clone(),
        pod: pod.name.clone(),
    }
}

async fn accept(listener: TcpListener, identity: Identity, tasks: TaskSet) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let identity = identity.clone();
                tasks.spawn("pod connection", serve(stream, identity));
            }
            Err(_) => hanse_rt::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(mut stream: TcpStream, identity: Identity) {
    let mut first = [0_u8; 3];
    let peeked = hanse_rt::timeout(SILENCE, stream.peek(&mut first)).await;
    let speaks_http = matches!(peeked, Ok(Ok(read)) if read > 0)
        && first.iter().take_while(|byte| **byte != 0).all(u8::is_ascii_uppercase);
    if !speaks_http {
        drop(lines(&mut stream, &identity).await);
        return;
    }
    let answer = service_fn(move |request| answer(request, identity.clone()));
    let served = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), answer)
        .await;
    if let Err(error) = served {
        tracing::trace!(%error, "pod connection ended");
    }
}

/// Anything but HTTP: a line with the pod's name, then every chunk as it came.
async fn lines(stream: &mut TcpStream, identity: &Identity) -> std::io::Result<()> {
    stream.write_all(format!("{}/{}\n", identity.cluster, identity.pod).as_bytes()).await?;
    let mut chunk = vec![0; 8192];
    loop {
        let read = stream.read(&mut chunk).await?;
        if read == 0 {
            return Ok(());
        }
        stream.write_all(chunk.get(..read).unwrap_or_default()).await?;
    }
}

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>, identity: Identity) -> Result<Answer, Infallible> {
    let (head, body) = request.into_parts();
    let grpc = head
        .headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let body = match http_body_util::Limited::new(body, BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let mut response = if grpc { echo_grpc(body) } else { describe(&head, &identity, &body) };
    let headers = response.headers_mut();
    for (name, value) in [("x-cluster", &identity.cluster), ("x-pod", &identity.pod)] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

/// The JSON form of the echo server that Gateway API conformance uses, and the cluster.
fn describe(head: &http::request::Parts, identity: &Identity, body: &Bytes) -> Answer {
    let mut headers: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in &head.headers {
        headers
            .entry(name.as_str())
            .or_default()
            .push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let text = json!({
        "path": head.uri.path_and_query().map(ToString::to_string),
        "host": head.uri.host().map(str::to_owned)
            .or_else(|| headers.get("host").and_then(|hosts| hosts.first().cloned())),
        "method": head.method.as_str(), "proto": format!("{:?}", head.version),
        "headers": headers, "bodyBytes": body.len(),
        "cluster": identity.cluster, "namespace": identity.namespace, "pod": identity.pod,
    });
    let mut response = Response::new(Full::new(Bytes::from(format!("{text}\n"))).boxed_unsync());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// The request's messages back, and status 0 in the trailers.
fn echo_grpc(body: Bytes) -> Answer {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Ok(Frame::data(body)), Ok(Frame::trailers(trailers))];
    let body = StreamBody::new(futures::stream::iter(frames)).boxed_unsync();
    debug_assert!(!body.is_end_stream(), "a gRPC answer has trailers");
    let mut response = Response::new(body);
    let grpc = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, grpc);
    response
}
