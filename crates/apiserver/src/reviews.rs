//! Questions about users and rights, which are answered and not stored, and subresources that act.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    decode,
    delete::{self, Options},
    failure::Failure,
    request::{Call, Reply},
    user::MASTERS,
    write::{self, Update},
};

/// Answers a review.
pub(crate) fn answer(call: &Call, body: &Bytes) -> Result<Reply, Failure> {
    let mut review = decode::object(call, body)?.object;
    let user = &call.user;
    review["status"] = match call.shown.kind.as_str() {
        "SelfSubjectReview" => {
            let mut groups = user.groups.clone();
            groups.push("system:authenticated".to_owned());
            json!({ "userInfo": { "username": user.name, "groups": groups } })
        }
        "SelfSubjectAccessReview" => verdict(user.is_master()),
        "SelfSubjectRulesReview" => {
            let all = if user.is_master() {
                json!([{ "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"] }])
            } else {
                json!([])
            };
            let urls = if user.is_master() {
                json!([{ "verbs": ["*"], "nonResourceURLs": ["*"] }])
            } else {
                json!([])
            };
            json!({ "resourceRules": all, "nonResourceRules": urls, "incomplete": false })
        }
        "SubjectAccessReview" | "LocalSubjectAccessReview" => {
            let groups = review["spec"]["groups"].as_array();
            let master = groups.is_some_and(|groups| groups.iter().any(|one| one == MASTERS));
            verdict(master)
        }
        _ => json!({ "authenticated": false, "error": "no tokens are issued here" }),
    };
    let json = review.to_string().into();
    Ok(call.show(StatusCode::CREATED, &json, 0))
}

/// Does what a subresource asks for.
pub(crate) fn act(call: &Call, action: &str, body: &Bytes) -> Result<Reply, Failure> {
    call.current()?;
    match action {
        "eviction" => evict(call, body),
        "binding" => bind(call, body),
        _ => {
            let why = "this server issues no tokens: use the kubeconfig that it wrote";
            Err(Failure::forbidden(call.subject(call.name()), why))
        }
    }
}

fn verdict(allowed: bool) -> Value {
    let reason = if allowed { "system:masters may do everything" } else { "" };
    json!({ "allowed": allowed, "reason": reason })
}

fn evict(call: &Call, body: &Bytes) -> Result<Reply, Failure> {
    let eviction = as_definition(call, body, "io.k8s.api.policy.v1.Eviction")?;
    let options = Options {
        grace: eviction["deleteOptions"]["gracePeriodSeconds"].as_i64(),
        ..Options::default()
    };
    delete::own(call, &options)?;
    Ok(success(call))
}

fn bind(call: &Call, body: &Bytes) -> Result<Reply, Failure> {
    let binding = as_definition(call, body, "io.k8s.api.core.v1.Binding")?;
    let node = binding["target"]["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        return Err(Failure::bad_request("a binding names the node in target.name"));
    }
    write::retry(call, true, |old| {
        let bound = old.value["spec"]["nodeName"].as_str().unwrap_or_default();
        if !bound.is_empty() {
            let why = format!("pod {} is already assigned to node {bound:?}", call.name());
            return Err(Failure::conflict(call.subject(call.name()), &why));
        }
        let mut object = old.value.clone();
        object["spec"]["nodeName"] = node.into();
        Ok(Update { object, managers: None })
    })?;
    Ok(success(call))
}

fn as_definition(call: &Call, body: &Bytes, definition: &str) -> Result<Value, Failure> {
    if !call.content_type.contains("protobuf") {
        return decode::value(call, body);
    }
    crate::protobuf::decode(body, Some(definition))
        .map_err(|error| Failure::bad_request(format!("the protobuf body cannot be read: {error}")))
}

fn success(call: &Call) -> Reply {
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "code": 201,
    });
    let mut reply = Reply::json(&status);
    reply.status = StatusCode::CREATED;
    reply.revision = call.server.store.revision();
    reply
}
