//! One request from its parts to its answer: what it addresses, who asks, which form the answer
//! takes, and which handler does it.

use std::sync::Arc;

use bytes::Bytes;
use hanse_rt::trace::TraceParent;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use serde_json::{Value, json};

use crate::{
    body::Body,
    catalog::Kind,
    delete, discovery,
    failure::{Failure, Subject},
    meta, openapi, patch, read, reviews,
    route::{Place, Query, Route},
    scale,
    server::Inner,
    store::Object,
    user::User,
    view::View,
    watch, write,
};

/// A request for a resource.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) server: Arc<Inner>,
    /// The resource as it is stored.
    pub(crate) kind: Arc<Kind>,
    /// The resource as it is addressed; the same but for kinds that share a place.
    pub(crate) shown: Arc<Kind>,
    pub(crate) place: Place,
    pub(crate) query: Query,
    pub(crate) user: Arc<User>,
    pub(crate) view: View,
    pub(crate) content_type: String,
    /// The trace that a write belongs to, where the store asks for it.
    pub(crate) origin: Option<TraceParent>,
    agent: String,
}

/// An answer before it becomes HTTP.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: Body,
    pub(crate) warnings: Vec<String>,
    /// Must be settled before the answer goes out.
    pub(crate) revision: u64,
    pub(crate) headers: HeaderMap,
}

/// How unknown fields are treated.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

pub(crate) const JSON: &str = "application/json";

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inner")
    }
}

/// Answers a request.
pub(crate) async fn handle(
    server: &Arc<Inner>,
    user: &Arc<User>,
    parts: &Parts,
    route: Route,
    body: Bytes,
) -> Result<Reply, Failure> {
    let reply = dispatch(server, user, parts, route, &body)?;
    if reply.revision > 0 {
        server.store.wait_settled(reply.revision).await?;
    }
    Ok(reply)
}

fn dispatch(
    server: &Arc<Inner>,
    user: &Arc<User>,
    parts: &Parts,
    route: Route,
    body: &Bytes,
) -> Result<Reply, Failure> {
    let place = match route {
        Route::Resource(place) => place,
        route if parts.method == Method::GET || parts.method == Method::HEAD => {
            return document(server, &route, &parts.headers, parts.uri.query());
        }
        Route::Unknown => return Err(Failure::no_resource()),
        _ => return Err(Failure::method_not_allowed()),
    };
    let call = Call::new(server, user, parts, place)?;
    if !call.user.is_master() && !call.kind.review {
        return Err(call.forbidden(&parts.method));
    }
    if let Some(why) = server.store.failure() {
        return Err(Failure::unavailable(format!("the store failed: {why}")));
    }
    let named = call.place.name.is_some();
    let subresource = call.place.subresource.clone();
    match (parts.method.as_str(), named, subresource.as_deref()) {
        ("POST", false, None) if call.kind.review => reviews::answer(&call, body),
        (_, _, None) if call.kind.review => Err(Failure::method_not_allowed()),
        ("GET" | "HEAD", false, None) if call.query.is_true("watch") => watch::open(&call),
        ("GET" | "HEAD", false, None) => read::list(&call),
        ("GET" | "HEAD", true, None) => read::get(&call),
        ("POST", false, None) => write::create(&call, body),
        ("PUT", true, None) => write::replace(&call, body),
        ("PATCH", true, None) => patch::patch(&call, body),
        ("DELETE", true, None) => delete::one(&call, body),
        ("DELETE", false, None) => delete::collection(&call, body),
        (method, true, Some(name)) => dispatch_subresource(&call, method, name, body),
        _ => Err(Failure::method_not_allowed()),
    }
}

fn dispatch_subresource(
    call: &Call,
    method: &str,
    name: &str,
    body: &Bytes,
) -> Result<Reply, Failure> {
    let kind = &call.kind;
    if name == "scale" && kind.scale.is_some() {
        return scale::handle(call, method, body);
    }
    if kind.actions.iter().any(|action| action == name) {
        return match method {
            "POST" => reviews::act(call, name, body),
            _ => Err(Failure::method_not_allowed()),
        };
    }
    let whole = kind.status_like.iter().any(|one| one == name);
    let status = name == "status" && kind.status;
    if !whole && !status {
        return Err(Failure::no_resource());
    }
    match method {
        "GET" | "HEAD" => read::get(call),
        "PUT" => write::replace(call, body),
        "PATCH" => patch::patch(call, body),
        _ => Err(Failure::method_not_allowed()),
    }
}

fn document(
    server: &Inner,
    route: &Route,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Reply, Failure> {
    let catalog = server.catalog();
    let accept =
        headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let known = headers.get(header::IF_NONE_MATCH);
    match route {
        Route::Version => Ok(Reply::json(&version(&server.version))),
        Route::Health => {
            if let Some(why) = server.store.failure() {
                return Err(Failure::unavailable(format!("the store failed: {why}")));
            }
            let body = Body::whole("ok");
            Ok(Reply::new(StatusCode::OK, "text/plain", body))
        }
        Route::Root => Ok(Reply::json(&discovery::paths(&catalog))),
        Route::Core => Ok(discovery::core(&catalog, accept, known)),
        Route::Groups => Ok(discovery::groups(&catalog, accept, known)),
        Route::Group(group) => discovery::group(&catalog, group),
        Route::GroupVersion(group, version) => discovery::resources(&catalog, group, version),
        Route::OpenApiIndex => Ok(Reply::json(&openapi::index(&catalog))),
        Route::OpenApi(group, version) => openapi::document(&catalog, group, version, query),
        Route::Resource(_) | Route::Unknown => Err(Failure::no_resource()),
    }
}

fn version(text: &str) -> Value {
    let mut numbers = text.trim_start_matches('v').split('.');
    json!({
        "major": numbers.next().unwrap_or_default(),
        "minor": numbers.next().unwrap_or_default(),
        "gitVersion": text,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, platform()),
    })
}

/// The machine's name as Go writes it.
fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Call {
    fn new(
        server: &Arc<Inner>,
        user: &Arc<User>,
        parts: &Parts,
        place: Place,
    ) -> Result<Self, Failure> {
        let text = |name: header::HeaderName| {
            let value = parts.headers.get(name);
            value.and_then(|value| value.to_str().ok()).unwrap_or("")
        };
        let mut call = Self::at(server, place)?;
        call.user = Arc::clone(user);
        call.query = Query::parse(parts.uri.query());
        call.view = View::negotiate(text(header::ACCEPT), call.query.get("includeObject"))?;
        text(header::CONTENT_TYPE).clone_into(&mut call.content_type);
        let agent = text(header::USER_AGENT).split('/').next();
        agent.unwrap_or_default().clone_into(&mut call.agent);
        if server.store.begins_traces() && !parts.method.is_safe() {
            call.origin = TraceParent::current();
        }
        Ok(call)
    }

    /// A call that the server makes itself.
    pub(crate) fn own(
        server: &Arc<Inner>,
        group: &str,
        version: &str,
        resource: &str,
        namespace: Option<&str>,
        name: Option<&str>,
    ) -> Result<Self, Failure> {
        let mut call = Self::at(
            server,
            Place {
                group: group.to_owned(),
                version: version.to_owned(),
                namespace: namespace.map(str::to_owned),
                resource: resource.to_owned(),
                name: name.map(str::to_owned),
                subresource: None,
            },
        )?;
        "hanse-apiserver".clone_into(&mut call.agent);
        Ok(call)
    }

    fn at(server: &Arc<Inner>, place: Place) -> Result<Self, Failure> {
        let catalog = server.catalog();
        let found = catalog.find(&place.group, &place.version, &place.resource);
        let shown = Arc::clone(found.ok_or_else(Failure::no_resource)?);
        // Namespaced resources can be listed without a namespace, and nothing else.
        if !shown.namespaced && place.namespace.is_some() {
            return Err(Failure::no_resource());
        }
        if shown.namespaced && place.namespace.is_none() && place.name.is_some() {
            return Err(Failure::no_resource());
        }
        let kind = match crate::events::stored_as(&shown) {
            Some((group, version)) => catalog.find(group, version, &shown.plural).cloned(),
            None => None,
        };
        Ok(Self {
            server: Arc::clone(server),
            kind: kind.unwrap_or_else(|| Arc::clone(&shown)),
            shown,
            place,
            query: Query::default(),
            user: User::master("system:apiserver"),
            view: View::Plain,
            content_type: JSON.to_owned(),
            origin: None,
            agent: String::new(),
        })
    }

    /// The key of the addressed object.
    pub(crate) fn key(&self) -> String {
        let name = self.place.name.as_deref().unwrap_or_default();
        meta::key(self.place.namespace.as_deref(), name)
    }

    pub(crate) fn name(&self) -> &str {
        self.place.name.as_deref().unwrap_or_default()
    }

    /// The object that a failure is about.
    pub(crate) fn subject<'a>(&'a self, name: &'a str) -> Subject<'a> {
        Subject { group: &self.shown.group, resource: &self.shown.plural, name }
    }

    /// The same for failures that name the kind.
    pub(crate) fn kind_subject<'a>(&'a self, name: &'a str) -> Subject<'a> {
        Subject { group: &self.shown.group, resource: &self.shown.kind, name }
    }

    pub(crate) fn subresource(&self) -> &str {
        self.place.subresource.as_deref().unwrap_or_default()
    }

    /// Who is said to own what this call writes.
    pub(crate) fn manager(&self) -> String {
        let given = self.query.get("fieldManager").unwrap_or(&self.agent);
        let given = if given.is_empty() { "unknown" } else { given };
        given.chars().take(128).collect()
    }

    pub(crate) fn dry_run(&self) -> Result<bool, Failure> {
        match self.query.get("dryRun") {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(Failure::unprocessable(format!(
                "dryRun: Unsupported value: {other:?}: supported values: \"All\""
            ))),
        }
    }

    pub(crate) fn field_validation(&self) -> Result<FieldValidation, Failure> {
        match self.query.get("fieldValidation") {
            None | Some("Warn") => Ok(FieldValidation::Warn),
            Some("Ignore") => Ok(FieldValidation::Ignore),
            Some("Strict") => Ok(FieldValidation::Strict),
            Some(other) => Err(Failure::unprocessable(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }

    /// The addressed object.
    pub(crate) fn current(&self) -> Result<Arc<Object>, Failure> {
        let found = self.server.store.get(&self.kind.storage, &self.key());
        found.ok_or_else(|| Failure::not_found(self.subject(self.name())))
    }

    /// Answers with an object.
    pub(crate) fn show(&self, status: StatusCode, json: &Bytes, revision: u64) -> Reply {
        let body = self.view.object(self, json);
        let mut reply = Reply::new(status, JSON, Body::whole(body));
        reply.revision = revision;
        reply
    }

    fn forbidden(&self, method: &Method) -> Failure {
        let verb = match (method.as_str(), self.place.name.is_some()) {
            ("GET" | "HEAD", false) if self.query.is_true("watch") => "watch",
            ("GET" | "HEAD", false) => "list",
            ("GET" | "HEAD", true) => "get",
            ("POST", _) => "create",
            ("PUT", _) => "update",
            ("PATCH", _) => "patch",
            ("DELETE", false) => "deletecollection",
            _ => "delete",
        };
        let scope = match &self.place.namespace {
            Some(namespace) => format!("in the namespace {namespace:?}"),
            None => "at the cluster scope".to_owned(),
        };
        let why = format!(
            "User {:?} cannot {verb} resource {:?} in API group {:?} {scope}",
            self.user.name, self.shown.plural, self.shown.group
        );
        Failure::forbidden(self.subject(self.name()), &why)
    }
}

impl Reply {
    pub(crate) fn new(status: StatusCode, content_type: &'static str, body: Body) -> Self {
        Self {
            status,
            content_type,
            body,
            warnings: Vec::new(),
            revision: 0,
            headers: HeaderMap::new(),
        }
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::new(StatusCode::OK, JSON, Body::whole(value.to_string()))
    }

    pub(crate) fn failure(failure: &Failure) -> Self {
        let body = Body::whole(failure.status().to_string());
        let mut reply = Self::new(failure.code, JSON, body);
        let delay =
            failure.details.as_ref().and_then(|details| details["retryAfterSeconds"].as_u64());
        if let Some(seconds) = delay {
            reply.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        reply
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        for warning in self.warnings {
            let line: String =
                warning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let quoted = line.replace('\\', "\\\\").replace('"', "\\\"");
            let text = format!("299 - \"{quoted}\"");
            if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
                headers.append(header::WARNING, value);
            }
        }
        response
    }
}
