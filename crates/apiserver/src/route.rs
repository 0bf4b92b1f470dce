//! Paths and queries of requests. Nothing here knows which resources exist.

/// What a path asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Route {
    /// `/`
    Root,
    /// `/version`
    Version,
    /// `/healthz` and its kin; the text after the name is ignored.
    Health,
    /// `/api`
    Core,
    /// `/apis`
    Groups,
    /// `/apis/G`
    Group(String),
    /// `/api/v1`, `/apis/G/V`
    GroupVersion(String, String),
    /// `/openapi/v3`
    OpenApiIndex,
    /// `/openapi/v3/apis/G/V`
    OpenApi(String, String),
    /// A resource or an object.
    Resource(Place),
    Unknown,
}

/// A place among the resources.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Place {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) namespace: Option<String>,
    pub(crate) resource: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Route {
    pub(crate) fn parse(path: &str) -> Self {
        let parts: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [] => Self::Root,
            ["version"] => Self::Version,
            ["healthz" | "livez" | "readyz", ..] => Self::Health,
            ["api"] => Self::Core,
            ["apis"] => Self::Groups,
            ["apis", group] => Self::Group((*group).to_owned()),
            ["api", version] => Self::GroupVersion(String::new(), (*version).to_owned()),
            ["apis", group, version] => {
                Self::GroupVersion((*group).to_owned(), (*version).to_owned())
            }
            ["openapi", "v3"] => Self::OpenApiIndex,
            ["openapi", "v3", "api", version] => {
                Self::OpenApi(String::new(), (*version).to_owned())
            }
            ["openapi", "v3", "apis", group, version] => {
                Self::OpenApi((*group).to_owned(), (*version).to_owned())
            }
            ["api", version, rest @ ..] => Self::resource("", version, rest),
            ["apis", group, version, rest @ ..] => Self::resource(group, version, rest),
            _ => Self::Unknown,
        }
    }

    fn resource(group: &str, version: &str, rest: &[&str]) -> Self {
        let mut place =
            Place { group: group.to_owned(), version: version.to_owned(), ..Place::default() };
        let rest = match rest {
            // A namespace's own subresources are not resources inside it.
            ["namespaces", name, sub @ ("status" | "finalize")] if group.is_empty() => {
                "namespaces".clone_into(&mut place.resource);
                place.name = Some((*name).to_owned());
                place.subresource = Some((*sub).to_owned());
                return Self::Resource(place);
            }
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => {
                place.namespace = Some((*namespace).to_owned());
                rest
            }
            rest => rest,
        };
        let [resource, rest @ ..] = rest else {
            return Self::Unknown;
        };
        (*resource).clone_into(&mut place.resource);
        let (name, subresource) = match rest {
            [] => (None, None),
            [name] => (Some(*name), None),
            [name, subresource] => (Some(*name), Some(*subresource)),
            _ => return Self::Unknown,
        };
        place.name = name.map(str::to_owned);
        place.subresource = subresource.map(str::to_owned);
        Self::Resource(place)
    }
}

impl Query {
    /// Parses the text after the question mark; some clients begin it with `&`.
    pub(crate) fn parse(text: Option<&str>) -> Self {
        let pairs = text.unwrap_or_default().split('&');
        Self(
            pairs
                .filter(|pair| !pair.is_empty())
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (decode(name), decode(&value.replace('+', " ")))
                })
                .collect(),
        )
    }

    /// The value of a parameter; an empty one counts as absent.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|(key, value)| key == name && matches!(value.as_str(), "true" | "1" | "True"))
    }
}

/// Resolves `%xx`; what is no valid escape stays as it is.
fn decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let mut ahead = rest.clone();
        match (byte, hex(ahead.next()), hex(ahead.next())) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).expect("two hex digits are a byte"));
                rest = ahead;
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str) -> Place {
        match Route::parse(path) {
            Route::Resource(place) => place,
            other => panic!("{path} is {other:?}"),
        }
    }

    #[test]
    fn a_namespace_is_an_object_and_also_a_folder() {
        let finalize = place("/api/v1/namespaces/shop/finalize");
        assert_eq!(finalize.resource, "namespaces");
        assert_eq!(finalize.subresource.as_deref(), Some("finalize"));
        let pods = place("/api/v1/namespaces/shop/pods");
        assert_eq!(pods.namespace.as_deref(), Some("shop"));
        assert_eq!(pods.resource, "pods");
        assert_eq!(place("/api/v1/namespaces/shop").name.as_deref(), Some("shop"));
    }

    #[test]
    fn queries_may_begin_with_an_ampersand_and_are_decoded() {
        let query = Query::parse(Some("&limit=500&labelSelector=a%3Db%2Cc&watch=1&empty="));
        assert_eq!(query.get("limit"), Some("500"));
        assert_eq!(query.get("labelSelector"), Some("a=b,c"));
        assert!(query.is_true("watch"));
        assert_eq!(query.get("empty"), None);
        assert_eq!(decode("100%"), "100%");
    }
}
