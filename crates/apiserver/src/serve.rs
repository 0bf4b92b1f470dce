//! The API on a TLS listener: HTTP/1.1 and HTTP/2, bearer tokens and client certificates.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use hanse_rt::{
    TaskSet,
    net::{TcpListener, TcpStream},
};
use http::{HeaderMap, Request, Response, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::{
    RootCertStore, ServerConfig, server::WebPkiClientVerifier, server::danger::ClientCertVerifier,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{ApiServer, Body, service, user::User};

/// A client that does not finish its handshake in this time is let go.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Connections at one time; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 4096;
/// Streams of one HTTP/2 connection at one time; a client holds one watch per kind.
const MAX_STREAMS: u32 = 1000;

/// The server's own identity, and whose certificates it takes from clients. All texts are PEM.
#[derive(Clone)]
pub struct TlsConfig {
    /// The serving certificate, and those between it and the root.
    pub certificate: String,
    /// Its key.
    pub key: String,
    /// Authorities of client certificates; without them, clients have tokens only.
    pub client_authority: Option<String>,
}

/// Bearer tokens and whose they are. Only their digests are kept.
#[derive(Clone, Debug, Default)]
pub struct Tokens(BTreeMap<[u8; 32], Arc<User>>);

/// Why a listener cannot serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A text is no PEM of the expected kind.
    #[error("{what} does not parse: {why}")]
    Pem {
        /// Which of them.
        what: &'static str,
        /// What the parser says.
        why: String,
    },
    /// Certificate and key do not fit, or the authority is not usable.
    #[error("the certificate cannot be used")]
    Tls(#[from] rustls::Error),
    /// The authority for clients is not usable.
    #[error("the authority of client certificates cannot be used")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

impl std::fmt::Debug for TlsConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsConfig").finish_non_exhaustive()
    }
}

impl Tokens {
    /// No tokens.
    pub fn new() -> Self {
        Self::default()
    }

    /// Also takes this token, as this user in these groups.
    pub fn with(mut self, token: &str, name: &str, groups: &[&str]) -> Self {
        let user = User {
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        };
        self.0.insert(digest(token), Arc::new(user));
        self
    }

    fn find(&self, headers: &HeaderMap) -> Option<Arc<User>> {
        let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, token) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        self.0.get(&digest(token.trim())).cloned()
    }
}

impl ApiServer {
    /// Serves on the listener until `tasks` ends.
    ///
    /// # Errors
    /// When the certificates cannot be used; the listener is closed then.
    pub fn serve(
        &self,
        tasks: &TaskSet,
        listener: TcpListener,
        tls: &TlsConfig,
        tokens: Tokens,
    ) -> Result<(), ServeError> {
        let acceptor = TlsAcceptor::from(Arc::new(config(tls)?));
        let connections = tasks.child("api");
        let shutdown = tasks.shutdown();
        let server = self.clone();
        let tokens = Arc::new(tokens);
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        tasks.spawn("api listener", async move {
            loop {
                let accepted = hanse_rt::select! {
                    () = shutdown.cancelled() => return,
                    accepted = accept(&listener, &room) => accepted,
                };
                let Some((stream, permit)) = accepted else {
                    // The system is out of something; trying at once again would spin.
                    hanse_rt::sleep(Duration::from_millis(100)).await;
                    continue;
                };
                let (server, tokens) = (server.clone(), Arc::clone(&tokens));
                let (acceptor, tasks) = (acceptor.clone(), connections.clone());
                let shutdown = connections.shutdown();
                connections.spawn("api connection", async move {
                    let _permit = permit;
                    hanse_rt::select! {
                        () = shutdown.cancelled() => {}
                        () = connection(stream, &acceptor, server, tokens, tasks) => {}
                    }
                });
            }
        });
        Ok(())
    }
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    let (stream, _) = listener.accept().await.ok()?;
    Some((stream, permit))
}

async fn connection(
    stream: TcpStream,
    acceptor: &TlsAcceptor,
    server: ApiServer,
    tokens: Arc<Tokens>,
    tasks: TaskSet,
) {
    // Answers are small and latency counts more than packets.
    drop(stream.set_nodelay(true));
    let stream = match hanse_rt::timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(%error, "a TLS handshake failed");
            return;
        }
        Err(_) => return,
    };
    let peer = stream.get_ref().1.peer_certificates();
    let certified = peer.and_then(|chain| chain.first()).and_then(certified_user);
    let service = service_fn(move |request: Request<Incoming>| {
        let user = certified.clone().or_else(|| tokens.find(request.headers()));
        let server = server.clone();
        async move { Ok::<_, Infallible>(respond(&server, user, request).await) }
    });
    let mut builder = auto::Builder::new(Spawn(tasks));
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(MAX_STREAMS);
    builder.http1().timer(TokioTimer::new());
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "an API connection ended");
    }
}

async fn respond(
    server: &ApiServer,
    user: Option<Arc<User>>,
    request: Request<Incoming>,
) -> Response<Body> {
    let open = matches!(request.uri().path(), "/healthz" | "/livez" | "/readyz" | "/version");
    match user {
        Some(user) => service::answer(server, &user, request).await,
        None if open => {
            let nobody = Arc::new(User {
                name: "system:anonymous".to_owned(),
                groups: vec!["system:unauthenticated".to_owned()],
            });
            service::answer(server, &nobody, request).await
        }
        None => service::refuse(server, &request),
    }
}

/// Runs hyper's own futures among the connections.
#[derive(Clone)]
struct Spawn(TaskSet);

impl<F> hyper::rt::Executor<F> for Spawn
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.0.spawn("api stream", future);
    }
}

fn config(tls: &TlsConfig) -> Result<ServerConfig, ServeError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates("the certificate", &tls.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(tls.key.as_bytes())
        .map_err(|error| unreadable("the key", &error))?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &tls.client_authority {
        None => builder.with_no_client_auth(),
        Some(pem) => builder.with_client_cert_verifier(verifier(pem, provider)?),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn verifier(
    pem: &str,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, ServeError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("the client authority", pem)? {
        roots.add(certificate)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    Ok(verifier.allow_unauthenticated().build()?)
}

fn certificates(what: &'static str, pem: &str) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(what, &error))
}

fn unreadable(what: &'static str, error: &rustls_pki_types::pem::Error) -> ServeError {
    let why = error.to_string();
    ServeError::Pem { what, why }
}

/// The common name is the user, organisations are groups.
fn certified_user(certificate: &CertificateDer<'_>) -> Option<Arc<User>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups = subject.iter_organization();
    let groups = groups.filter_map(|group| group.as_str().ok().map(str::to_owned));
    let groups = groups.collect();
    Some(Arc::new(User { name, groups }))
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
