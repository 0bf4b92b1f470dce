//! Marks on applied objects, in the words of the member crate.

use hanse_api::marks;
use hanse_member::MarkNames;

/// The annotations that a digest keeps.
pub(crate) const NAMES: MarkNames = MarkNames {
    binding: marks::BINDING_ANNOTATION,
    template_uid: marks::TEMPLATE_UID_ANNOTATION,
    digest: marks::DIGEST_ANNOTATION,
};
