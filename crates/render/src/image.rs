//! Names of images: `registry/repository:tag@digest`.

/// The parts of a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Image {
    pub(crate) registry: Option<String>,
    pub(crate) repository: String,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<String>,
}

impl Image {
    /// Takes a name apart. The first part is a registry when it could not be a path: it has a dot
    /// or a port, or is `localhost`.
    pub(crate) fn parse(name: &str) -> Self {
        let (name, digest) = match name.split_once('@') {
            Some((name, digest)) => (name, Some(digest.to_owned())),
            None => (name, None),
        };
        let (registry, rest) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => {
                (Some(first.to_owned()), rest)
            }
            _ => (None, name),
        };
        let (repository, tag) = match rest.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag.to_owned())),
            _ => (rest, None),
        };
        Self { registry, repository: repository.to_owned(), tag, digest }
    }
}

impl std::fmt::Display for Image {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(registry) = &self.registry {
            write!(out, "{registry}/")?;
        }
        out.write_str(&self.repository)?;
        if let Some(tag) = &self.tag {
            write!(out, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(out, "@{digest}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(name: &str) -> (Option<String>, String, Option<String>, Option<String>) {
        let image = Image::parse(name);
        (image.registry, image.repository, image.tag, image.digest)
    }

    #[test]
    fn a_name_is_taken_apart_as_registries_do() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parts("nginx"), (None, "nginx".to_owned(), None, None));
        assert_eq!(
            parts("library/nginx:1.2"),
            (None, "library/nginx".to_owned(), some("1.2"), None)
        );
        assert_eq!(
            parts("r.example.com:5000/a/b:1@sha256:ab"),
            (some("r.example.com:5000"), "a/b".to_owned(), some("1"), some("sha256:ab"))
        );
        assert_eq!(parts("localhost/a"), (some("localhost"), "a".to_owned(), None, None));
        assert_eq!(parts("r.io:80/a"), (some("r.io:80"), "a".to_owned(), None, None));
    }

    proptest::proptest! {
        #[test]
        fn a_name_that_is_taken_apart_goes_together_again(
            name in "([a-z]{1,5}\\.[a-z]{2}(:[0-9]{2,4})?/)?[a-z]{1,6}(/[a-z]{1,6}){0,2}(:[a-z0-9.]{1,6})?(@sha256:[0-9a-f]{4})?"
        ) {
            proptest::prop_assert_eq!(Image::parse(&name).to_string(), name);
        }
    }
}
