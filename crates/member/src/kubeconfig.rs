//! Kubeconfigs of members: read from text, and refused where they would run code or read files in
//! the hub. A kubeconfig comes from whoever may write its Secret; what it names, the hub would do.

use kube::config::{AuthInfo, Cluster, Kubeconfig};

/// A kubeconfig that is not used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KubeconfigRefused {
    /// It is no kubeconfig.
    #[error("the kubeconfig does not parse: {0}")]
    Unreadable(String),
    /// It would run a program or read a file in the hub.
    #[error("{field} is refused: {instead}")]
    Field {
        /// Path of the field.
        field: String,
        /// What to write instead.
        instead: &'static str,
    },
    /// Something is missing in it.
    #[error("{field} is missing: {instead}")]
    Missing {
        /// Path of the field.
        field: String,
        /// What to write.
        instead: &'static str,
    },
}

/// Reads a kubeconfig that holds everything in itself.
///
/// # Errors
/// [`KubeconfigRefused`] names the first field that cannot be used and says what to write instead.
pub fn read_kubeconfig(text: &str) -> Result<Kubeconfig, KubeconfigRefused> {
    let config = Kubeconfig::from_yaml(text)
        .map_err(|error| KubeconfigRefused::Unreadable(chain(&error)))?;
    let wanted = config.current_context.clone().unwrap_or_default();
    if wanted.is_empty() {
        return Err(missing("current-context", "name the context that leads to the member"));
    }
    let context = config
        .contexts
        .iter()
        .find(|context| context.name == wanted)
        .and_then(|context| context.context.as_ref())
        .ok_or_else(|| missing(&format!("contexts[{wanted}]"), "add the current context"))?;
    let cluster = config
        .clusters
        .iter()
        .find(|cluster| cluster.name == context.cluster)
        .and_then(|cluster| cluster.cluster.as_ref())
        .ok_or_else(|| missing(&format!("clusters[{}]", context.cluster), "add the cluster"))?;
    if cluster.server.as_ref().is_none_or(String::is_empty) {
        let field = format!("clusters[{}].cluster.server", context.cluster);
        return Err(missing(&field, "write the URL of the member's API server"));
    }
    // Every entry is checked, not only the current one: the context may be changed later.
    for entry in &config.clusters {
        if let Some(cluster) = &entry.cluster {
            check_cluster(&entry.name, cluster)?;
        }
    }
    for entry in &config.auth_infos {
        if let Some(user) = &entry.auth_info {
            check_user(&entry.name, user)?;
        }
    }
    Ok(config)
}

fn check_cluster(name: &str, cluster: &Cluster) -> Result<(), KubeconfigRefused> {
    let field = |field: &str| format!("clusters[{name}].cluster.{field}");
    if cluster.certificate_authority.is_some() {
        return Err(KubeconfigRefused::Field {
            field: field("certificate-authority"),
            instead: "it names a file; write certificate-authority-data",
        });
    }
    if cluster.proxy_url.is_some() {
        return Err(KubeconfigRefused::Field {
            field: field("proxy-url"),
            instead: "the hub calls members without a proxy",
        });
    }
    Ok(())
}

fn check_user(name: &str, user: &AuthInfo) -> Result<(), KubeconfigRefused> {
    let rows: [(bool, &str, &'static str); 5] = [
        (
            user.exec.is_some(),
            "exec",
            "it would run a program in the hub; write token, or client-certificate-data with \
             client-key-data",
        ),
        (
            user.auth_provider.is_some(),
            "auth-provider",
            "it would run code in the hub; write token, or client-certificate-data with \
             client-key-data",
        ),
        (user.token_file.is_some(), "tokenFile", "it names a file; write token"),
        (
            user.client_certificate.is_some(),
            "client-certificate",
            "it names a file; write client-certificate-data",
        ),
        (user.client_key.is_some(), "client-key", "it names a file; write client-key-data"),
    ];
    for (present, field, instead) in rows {
        if present {
            return Err(KubeconfigRefused::Field {
                field: format!("users[{name}].user.{field}"),
                instead,
            });
        }
    }
    Ok(())
}

fn missing(field: &str, instead: &'static str) -> KubeconfigRefused {
    KubeconfigRefused::Missing { field: field.to_owned(), instead }
}

/// An error with its sources, on one line: kube hides the place of a parse error in the source.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(cluster: &str, user: &str) -> String {
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{{cluster}}}}}]\n\
             users: [{{name: u, user: {{{user}}}}}]\n"
        )
    }

    fn refusal(cluster: &str, user: &str) -> String {
        read_kubeconfig(&config(cluster, user)).unwrap_err().to_string()
    }

    const SERVER: &str = "server: \"https://127.0.0.1:6443\"";

    #[test]
    fn a_kubeconfig_that_holds_everything_itself_is_read() {
        assert!(read_kubeconfig(&config(SERVER, "token: t")).is_ok());
    }

    #[test]
    fn programs_and_files_are_refused_with_the_name_of_the_field() {
        for (user, expected) in [
            (
                "exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}",
                "users[u].user.exec is refused: it would run a program in the hub; write token, \
                 or client-certificate-data with client-key-data",
            ),
            (
                "auth-provider: {name: gcp}",
                "users[u].user.auth-provider is refused: it would run code in the hub; write \
                 token, or client-certificate-data with client-key-data",
            ),
            (
                "tokenFile: /var/run/token",
                "users[u].user.tokenFile is refused: it names a file; write token",
            ),
            (
                "client-certificate: /c.pem",
                "users[u].user.client-certificate is refused: it names a file; write \
                 client-certificate-data",
            ),
            (
                "client-key: /k.pem",
                "users[u].user.client-key is refused: it names a file; write client-key-data",
            ),
        ] {
            assert_eq!(refusal(SERVER, user), expected);
        }
        assert_eq!(
            refusal(&format!("{SERVER}, certificate-authority: /ca.pem"), "token: t"),
            "clusters[k].cluster.certificate-authority is refused: it names a file; write \
             certificate-authority-data"
        );
        assert!(
            refusal(&format!("{SERVER}, proxy-url: \"http://p\""), "token: t")
                .starts_with("clusters[k].cluster.proxy-url is refused")
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(
            refusal("insecure-skip-tls-verify: true", "token: t"),
            "clusters[k].cluster.server is missing: write the URL of the member's API server"
        );
        assert_eq!(
            read_kubeconfig("apiVersion: v1\nkind: Config\n").unwrap_err().to_string(),
            "current-context is missing: name the context that leads to the member"
        );
    }

    #[test]
    fn a_text_that_does_not_parse_says_where() {
        let error = read_kubeconfig("clusters: {a: [}").unwrap_err().to_string();
        assert!(error.starts_with("the kubeconfig does not parse:"), "{error}");
        let error = read_kubeconfig("apiVersion: v1\nclusters: 5\n").unwrap_err().to_string();
        assert!(error.contains("clusters") || error.contains("line 2"), "{error}");
    }
}
