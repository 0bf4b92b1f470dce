//! Asks the hub about its decisions. Where it answers stands in the Federation's status: an
//! address, or a Service behind the federation's own API.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use hanse_api::Federation;
use hanse_rt::net;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use kube::{Api, Client};
use serde::de::DeserializeOwned;

use crate::connect::within;

/// The hub is near, or it is not there.
const CONNECT: Duration = Duration::from_secs(5);
/// A look at a fleet of thousands takes seconds; this is more than any takes.
const ANSWER: Duration = Duration::from_mins(1);

/// Asks a question, with a body or without.
///
/// # Errors
/// Where the hub cannot be asked, and why; or what it says of the question.
pub(crate) async fn ask<T: DeserializeOwned>(
    client: &Client,
    question: &str,
    body: Option<Vec<u8>>,
) -> Result<T> {
    let federations: Api<Federation> = Api::all(client.clone());
    let federation = within("reading the Federation", federations.get_opt("default")).await?;
    let at = federation.and_then(|federation| federation.status?.questions);
    let Some(at) = at else {
        bail!("the hub does not say where it answers questions: start it with --questions");
    };
    let method = if body.is_some() { Method::POST } else { Method::GET };
    let body = body.unwrap_or_default();
    let text = match parse(&at)? {
        Door::Address(address) => {
            let asked = direct(address, method, question, body);
            let answer = hanse_rt::timeout(ANSWER, asked).await;
            answer.context("the hub does not answer")?.with_context(|| format!("asking {at}"))?
        }
        Door::Service(path) => {
            let request = Request::builder()
                .method(method)
                .uri(format!("{path}{question}"))
                .body(body)
                .context("the question is no request")?;
            let answer = hanse_rt::timeout(ANSWER, client.request_text(request)).await;
            answer.context("the hub does not answer")?.with_context(|| format!("asking {at}"))?
        }
    };
    serde_json::from_str(&text).context("this hub answers in another form: use its own version")
}

/// Where a hub is asked.
#[derive(Debug, PartialEq)]
enum Door {
    Address(SocketAddr),
    /// Path of the Service's proxy in the API.
    Service(String),
}

fn parse(at: &str) -> Result<Door> {
    if let Ok(address) = at.parse() {
        return Ok(Door::Address(address));
    }
    let parts: Vec<&str> = at.split('/').collect();
    let &["services", namespace, service] = parts.as_slice() else {
        bail!("`{at}` is neither IP:PORT nor services/NAMESPACE/NAME:PORT");
    };
    Ok(Door::Service(format!("/api/v1/namespaces/{namespace}/services/{service}/proxy")))
}

async fn direct(
    address: SocketAddr,
    method: Method,
    question: &str,
    body: Vec<u8>,
) -> Result<String> {
    let stream = net::connect(address, CONNECT).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(method)
        .uri(question)
        .header(header::HOST, address.to_string())
        .body(Full::new(Bytes::from(body)))?;
    let answered = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        ensure!(status.is_success(), "{text}");
        Ok(text)
    };
    hanse_rt::select! {
        answered = answered => answered,
        ended = connection => {
            ended?;
            bail!("the connection ended before an answer came")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_is_asked_at_an_address_or_through_the_api() {
        let address = Door::Address("127.0.0.1:15020".parse().unwrap());
        assert_eq!(parse("127.0.0.1:15020").unwrap(), address);
        let path = "/api/v1/namespaces/hanse-system/services/hub:admin/proxy";
        let through = Door::Service(path.to_owned());
        assert_eq!(parse("services/hanse-system/hub:admin").unwrap(), through);
        parse("hub.example").unwrap_err();
    }
}
