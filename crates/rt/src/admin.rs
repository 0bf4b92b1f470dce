//! The small HTTP endpoint every role has: `/healthz`, `/readyz`, `/metrics`.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::sync::{Mutex, Semaphore};

use crate::{Metrics, Readiness, TaskSet, net};

/// Further pages of a role: path and query in, content type and body out.
pub type Pages = Arc<dyn Fn(&http::Uri) -> Option<(&'static str, String)> + Send + Sync>;

/// Answers to questions that pages are too small for: path and query, and the body of a POST, in;
/// JSON, or what is wrong with the question, out. Absent: no such question. An answer may take a
/// look at everything: one at a time is made, beside the threads that keep the role going.
pub type Questions = Arc<dyn Fn(&str, &[u8]) -> Option<Result<String, String>> + Send + Sync>;

/// The largest body of a question, bytes.
const BODY: usize = 4 << 20;

/// Questions that wait for their turn; more are turned away.
const WAITING: usize = 16;

/// Who answers questions, and how many wait.
#[derive(Clone)]
struct Asked {
    questions: Questions,
    waiting: Arc<Semaphore>,
    turn: Arc<Mutex<()>>,
}

/// What the endpoint shows.
#[derive(Clone)]
pub struct Admin {
    /// Behind `/metrics`.
    pub metrics: Metrics,
    /// Behind `/readyz`, which names what is waited for.
    pub readiness: Readiness,
    /// Everything else.
    pub pages: Option<Pages>,
}

impl std::fmt::Debug for Admin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Admin").field("readiness", &self.readiness).finish_non_exhaustive()
    }
}

/// Serves on `address` until `tasks` ends; returns the bound address.
///
/// # Errors
/// The listener's error.
pub fn serve(tasks: &TaskSet, address: SocketAddr, admin: Admin) -> std::io::Result<SocketAddr> {
    serve_with(tasks, address, admin, Arc::new(|_, _| None))
}

/// Serves as [`serve`] does, and answers questions.
///
/// # Errors
/// The listener's error.
pub fn serve_with(
    tasks: &TaskSet,
    address: SocketAddr,
    admin: Admin,
    questions: Questions,
) -> std::io::Result<SocketAddr> {
    let listener = net::listen(address)?;
    let bound = listener.local_addr()?;
    let connections = tasks.child("admin");
    let shutdown = tasks.shutdown();
    let waiting = Arc::new(Semaphore::new(WAITING));
    let asked = Asked { questions, waiting, turn: Arc::default() };
    tasks.spawn("admin", async move {
        loop {
            let accepted = crate::select! {
                () = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let (admin, asked) = (admin.clone(), asked.clone());
            connections.spawn("admin connection", async move {
                let service = service_fn(move |request| {
                    let (admin, asked) = (admin.clone(), asked.clone());
                    async move { Ok::<_, Infallible>(admin.respond(request, asked).await) }
                });
                let served = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                if let Err(error) = served {
                    tracing::debug!(%error, "admin connection ended");
                }
            });
        }
    });
    Ok(bound)
}

impl Admin {
    #[expect(
        clippy::disallowed_methods,
        reason = "an answer may take long, and no simulation serves this endpoint"
    )]
    async fn respond(
        &self,
        request: Request<Incoming>,
        asked: Asked,
    ) -> Response<Full<bytes::Bytes>> {
        let uri = request.uri().to_string();
        let get = request.method() == Method::GET;
        if !get && request.method() != Method::POST {
            let text = "ask with GET or POST".to_owned();
            return response(StatusCode::METHOD_NOT_ALLOWED, "text/plain", text);
        }
        if get
            && let page = self.answer(&request)
            && page.status() != StatusCode::NOT_FOUND
        {
            return page;
        }
        let body = match Limited::new(request.into_body(), BODY).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) => {
                return response(StatusCode::BAD_REQUEST, "text/plain", error.to_string());
            }
        };
        let Ok(_place) = asked.waiting.try_acquire() else {
            let text = format!("{WAITING} questions wait already: ask again later");
            return response(StatusCode::TOO_MANY_REQUESTS, "text/plain", text);
        };
        let turn = Arc::clone(&asked.turn).lock_owned().await;
        let questions = asked.questions;
        let answer = tokio::task::spawn_blocking(move || {
            // It ends with the answer, even where nobody waits for that any more.
            let _turn = turn;
            questions(&uri, &body)
        });
        let Ok(answer) = answer.await else {
            let text = "the question could not be answered".to_owned();
            return response(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", text);
        };
        match answer {
            Some(Ok(text)) => response(StatusCode::OK, "application/json", text),
            Some(Err(text)) => response(StatusCode::BAD_REQUEST, "text/plain", text),
            None => response(StatusCode::NOT_FOUND, "text/plain", "no such page".to_owned()),
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<bytes::Bytes>> {
        let (status, kind, body) = match request.uri().path() {
            "/healthz" | "/livez" => (StatusCode::OK, "text/plain", "ok".to_owned()),
            "/readyz" => match self.readiness.waiting_for() {
                waiting if waiting.is_empty() => (StatusCode::OK, "text/plain", "ok".to_owned()),
                waiting => {
                    let text = format!("waiting for: {}", waiting.join(", "));
                    (StatusCode::SERVICE_UNAVAILABLE, "text/plain", text)
                }
            },
            "/metrics" => (
                StatusCode::OK,
                "application/openmetrics-text; version=1.0.0",
                self.metrics.encode(),
            ),
            _ => match self.pages.as_ref().and_then(|pages| pages(request.uri())) {
                Some((kind, body)) => (StatusCode::OK, kind, body),
                None => (StatusCode::NOT_FOUND, "text/plain", "no such page".to_owned()),
            },
        };
        response(status, kind, body)
    }
}

fn response(status: StatusCode, kind: &'static str, body: String) -> Response<Full<bytes::Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(address: SocketAddr, method: Method, uri: &str, body: Vec<u8>) -> (u16, String) {
        let stream = net::connect(address, std::time::Duration::from_secs(5)).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let request =
            Request::builder().method(method).uri(uri).body(Full::new(bytes::Bytes::from(body)));
        let answered = async {
            let answer = sender.send_request(request.unwrap()).await.unwrap();
            let status = answer.status().as_u16();
            let bytes = answer.into_body().collect().await.unwrap().to_bytes();
            (status, String::from_utf8(bytes.to_vec()).unwrap())
        };
        crate::select! {
            answered = answered => answered,
            ended = connection => panic!("{ended:?}"),
        }
    }

    #[tokio::test]
    async fn a_question_that_takes_long_keeps_nobody_else_waiting() {
        let tasks = TaskSet::new("test");
        let (metrics, readiness) = (Metrics::new(), Readiness::new());
        let admin = Admin { metrics, readiness, pages: None };
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let gone = std::sync::Mutex::new(gone);
        let questions: Questions = Arc::new(move |_, _| {
            let limit = std::time::Duration::from_secs(20);
            let waited = gone.lock().unwrap().recv_timeout(limit);
            Some(waited.map(|()| "at last".to_owned()).map_err(|error| error.to_string()))
        });
        let any = "127.0.0.1:0".parse().unwrap();
        let at = serve_with(&tasks, any, admin, questions).unwrap();
        let others = async {
            let page = ask(at, Method::GET, "/healthz", Vec::new()).await;
            go.send(()).unwrap();
            page
        };
        let (slow, page) = tokio::join!(ask(at, Method::GET, "/explain", Vec::new()), others);
        assert_eq!(page, (200, "ok".to_owned()));
        assert_eq!(slow, (200, "at last".to_owned()));
        tasks.abort();
    }

    #[tokio::test]
    async fn questions_are_answered_beside_pages() {
        let tasks = TaskSet::new("test");
        let (metrics, readiness) = (Metrics::new(), Readiness::new());
        let admin = Admin { metrics, readiness, pages: None };
        let questions: Questions = Arc::new(|uri, body| match uri {
            "/count?of=body" => Some(Ok(body.len().to_string())),
            "/bad" => Some(Err("what is asked?".to_owned())),
            _ => None,
        });
        let any = "127.0.0.1:0".parse().unwrap();
        let at = serve_with(&tasks, any, admin, questions).unwrap();
        for (method, uri, body, status, text) in [
            (Method::GET, "/healthz", 0, 200, "ok"),
            (Method::GET, "/count?of=body", 0, 200, "0"),
            (Method::POST, "/count?of=body", 70_000, 200, "70000"),
            (Method::POST, "/count?of=body", BODY + 1, 400, "length limit exceeded"),
            (Method::GET, "/bad", 0, 400, "what is asked?"),
            (Method::POST, "/nowhere", 0, 404, "no such page"),
            (Method::DELETE, "/count?of=body", 0, 405, "ask with GET or POST"),
        ] {
            let found = ask(at, method, uri, vec![b'x'; body]).await;
            assert_eq!(found, (status, text.to_owned()), "{uri}");
        }
        tasks.abort();
    }
}
