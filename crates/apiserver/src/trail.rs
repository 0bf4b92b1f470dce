//! Where in an object something is. A trail lives on the stack of what walks the object and becomes
//! a text only when somebody has to be told. It knows no values.

use std::fmt::{self, Display, Formatter};

/// The way from an object to one of its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trail<'a> {
    above: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Item(usize),
}

impl<'a> Trail<'a> {
    /// The object itself.
    pub(crate) const ROOT: Trail<'static> = Trail { above: None, step: Step::Root };

    pub(crate) const fn field(&'a self, name: &'a str) -> Self {
        Self { above: Some(self), step: Step::Field(name) }
    }

    pub(crate) const fn item(&'a self, index: usize) -> Self {
        Self { above: Some(self), step: Step::Item(index) }
    }

    pub(crate) const fn is_root(&self) -> bool {
        self.above.is_none()
    }

    /// Whether the way begins with this field.
    pub(crate) fn begins_with(&self, name: &str) -> bool {
        match (self.above, self.step) {
            (Some(above), Step::Field(field)) if above.is_root() => field == name,
            (Some(above), _) => above.begins_with(name),
            (None, _) => false,
        }
    }
}

impl Display for Trail<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(above) = self.above else {
            return Ok(());
        };
        above.fmt(f)?;
        match self.step {
            Step::Root => Ok(()),
            Step::Field(name) if above.is_root() => f.write_str(name),
            Step::Field(name) => write!(f, ".{name}"),
            Step::Item(index) => write!(f, "[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trail_reads_like_the_path_of_a_field() {
        let spec = Trail::ROOT.field("spec");
        let list = spec.field("ports");
        let item = list.item(2);
        assert_eq!(item.field("port").to_string(), "spec.ports[2].port");
        assert_eq!(Trail::ROOT.to_string(), "");
        assert!(item.begins_with("spec") && !item.begins_with("ports"));
        assert!(!Trail::ROOT.begins_with("spec"));
    }
}
