//! Clients of members: one HTTP/2 connection each, every call bounded in time.

use std::{future::Future, pin::Pin, time::Duration};

use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::{Client, Config, client::ConfigExt as _, config::KubeConfigOptions};
use tower::BoxError;

use crate::{KubeconfigRefused, Limits, bounded_client, read_kubeconfig};

/// How a member is reached, in neutral terms.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Connection {
    /// By its API server, with the text of a kubeconfig.
    Direct {
        /// The kubeconfig.
        kubeconfig: String,
    },
    /// A simulated member of this process.
    Simulated,
}

/// A member that cannot be connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig is not used.
    #[error(transparent)]
    Refused(#[from] KubeconfigRefused),
    /// The kubeconfig leads to no client.
    #[error("the kubeconfig cannot be used: {0}")]
    Unusable(String),
    /// This process has no way to reach such members.
    #[error("{0}")]
    Unsupported(String),
}

/// A client on its way.
pub type Connecting<'a> = Pin<Box<dyn Future<Output = Result<Client, ConnectError>> + Send + 'a>>;

/// Makes clients of members, of which every call ends ([`bounded_client`]). The embedded mode has
/// one of its own that knows simulated members.
pub trait Connector: Send + Sync + std::fmt::Debug {
    /// A client of the member. No request is sent yet: that the member answers is seen later.
    fn connect<'a>(&'a self, name: &'a str, connection: &'a Connection) -> Connecting<'a>;
}

/// Connects members by their API server; simulated ones are refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct DirectConnector {
    /// Limits of every call.
    pub limits: Limits,
}

impl Connector for DirectConnector {
    fn connect<'a>(&'a self, name: &'a str, connection: &'a Connection) -> Connecting<'a> {
        Box::pin(async move {
            match connection {
                Connection::Direct { kubeconfig } => direct(kubeconfig, self.limits).await,
                Connection::Simulated => Err(ConnectError::Unsupported(format!(
                    "member {name} is simulated, and only `hanse up` simulates members: give it \
                     connection.direct"
                ))),
            }
        })
    }
}

async fn direct(kubeconfig: &str, limits: Limits) -> Result<Client, ConnectError> {
    let unusable = |error: &dyn std::error::Error| ConnectError::Unusable(error.to_string());
    let kubeconfig = read_kubeconfig(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| unusable(&error))?;
    config.default_retry = false;
    let tls = config.rustls_client_config().map_err(|error| unusable(&error))?;
    let mut sockets = hyper_util::client::legacy::connect::HttpConnector::new();
    sockets.enforce_http(false);
    sockets.set_nodelay(true);
    sockets.set_connect_timeout(Some(limits.connect));
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_or_http()
        .enable_http2()
        .wrap_connector(sockets);
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .http2_only(true)
        .http2_keep_alive_interval(Some(Duration::from_secs(5)))
        .http2_keep_alive_timeout(Duration::from_secs(5))
        .http2_keep_alive_while_idle(true)
        .build(connector);
    let auth = config.auth_layer().map_err(|error| unusable(&error))?;
    let headers = config.extra_headers_layer().map_err(|error| unusable(&error))?;
    let service = tower::ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(auth)
        .layer(headers)
        .map_err(BoxError::from)
        .service(http);
    Ok(bounded_client(service, limits, config.default_namespace))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_simulated_member_is_refused_outside_of_the_embedded_mode() {
        let connector = DirectConnector::default();
        let error = connector.connect("aws-1", &Connection::Simulated).await.err().unwrap();
        assert_eq!(
            error.to_string(),
            "member aws-1 is simulated, and only `hanse up` simulates members: give it \
             connection.direct"
        );
    }

    #[tokio::test]
    async fn a_refused_kubeconfig_names_its_field() {
        let connection = Connection::Direct {
            kubeconfig:
                "current-context: c\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n\
                clusters: [{name: k, cluster: {server: \"https://127.0.0.1:1\"}}]\n\
                users: [{name: u, user: {tokenFile: /t}}]\n"
                    .to_owned(),
        };
        let error = DirectConnector::default().connect("m", &connection).await.err().unwrap();
        assert!(matches!(error, ConnectError::Refused(_)));
        assert_eq!(
            error.to_string(),
            "users[u].user.tokenFile is refused: it names a file; write token"
        );
    }
}
