//! Which API a verb talks to: the kubeconfig rules of kubectl, and what `hanse up` wrote.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::args::Global;

/// A call that has no answer by then fails: a person waits.
const CALL: Duration = Duration::from_secs(15);

/// Where `hanse up` keeps its state when nobody says where.
///
/// # Errors
/// When neither `XDG_DATA_HOME` nor `HOME` is set.
pub(crate) fn default_data() -> Result<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    match (named("XDG_DATA_HOME"), named("HOME")) {
        (Some(data), _) => Ok(PathBuf::from(data).join("hanse")),
        (None, Some(home)) => Ok(PathBuf::from(home).join(".local/share/hanse")),
        (None, None) => bail!("neither XDG_DATA_HOME nor HOME is set; say where with --data DIR"),
    }
}

/// A client and the namespace that is meant when none is named.
pub(crate) struct Connection {
    pub(crate) client: Client,
    pub(crate) namespace: String,
}

/// Connects by the rules of kubectl.
///
/// # Errors
/// Which file or context is wrong, and what to do.
pub(crate) async fn connect(global: &Global) -> Result<Connection> {
    let config = config(global).await?;
    let namespace = global.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config).context("the kubeconfig cannot be used")?;
    Ok(Connection { client, namespace })
}

/// The configuration by the rules of kubectl.
///
/// # Errors
/// Which file or context is wrong, and what to do.
pub(crate) async fn config(global: &Global) -> Result<Config> {
    let kubeconfig = read(global)?;
    let options =
        KubeConfigOptions { context: global.context.clone(), ..KubeConfigOptions::default() };
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .context("the kubeconfig cannot be used")?;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = None;
    Ok(config)
}

fn read(global: &Global) -> Result<Kubeconfig> {
    if let Some(path) = &global.kubeconfig {
        return Kubeconfig::read_from(path)
            .with_context(|| format!("--kubeconfig {}", path.display()));
    }
    if let Some(found) = Kubeconfig::from_env().context("KUBECONFIG")? {
        return Ok(found);
    }
    let of_up = default_data().map(|data| data.join("kubeconfig")).ok();
    if let Some(path) = of_up.filter(|path| path.exists()) {
        return Kubeconfig::read_from(&path).with_context(|| path.display().to_string());
    }
    Kubeconfig::read().context(
        "no federation found: start one with `hanse up`, or name a kubeconfig with --kubeconfig \
         or KUBECONFIG",
    )
}

/// Waits for an answer no longer than a person would.
///
/// # Errors
/// The API's refusal, or that there was no answer in time.
pub(crate) async fn within<T>(
    what: &str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T> {
    match hanse_rt::timeout(CALL, call).await {
        Ok(answer) => answer.with_context(|| format!("{what} failed")),
        Err(elapsed) => {
            Err(elapsed).with_context(|| format!("{what}: the federation's API does not answer"))
        }
    }
}
