//! The quantities a topology file speaks in: cores, bytes and counts, in Kubernetes' notation
//! (`500m`, `64Gi`), whole numbers only.

use thiserror::Error;

/// Why a quantity was refused.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
pub enum QuantityError {
    /// It does not begin with a number.
    #[error("`{0}` is not a number with a unit; write for instance `16`, `500m` or `64Gi`")]
    NotANumber(String),
    /// The unit is not known.
    #[error("unknown unit `{unit}` in `{value}`; use one of {known}")]
    UnknownUnit {
        /// The whole value.
        value: String,
        /// What stands behind the number.
        unit: String,
        /// What may stand there.
        known: &'static str,
    },
    /// It does not fit into 64 bits.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// Thousandths of a core: `2` is 2000, `500m` is 500.
///
/// # Errors
/// [`QuantityError`] with what to write instead.
pub fn parse_millicores(value: &str) -> Result<u64, QuantityError> {
    scale(value, &[("", 1000), ("m", 1)], "m, or none for cores")
}

/// Bytes: `1Ki` is 1024, `1k` is 1000.
///
/// # Errors
/// [`QuantityError`] with what to write instead.
pub fn parse_bytes(value: &str) -> Result<u64, QuantityError> {
    const UNITS: [(&str, u64); 11] = [
        ("", 1),
        ("k", 1000),
        ("M", 1_000_000),
        ("G", 1_000_000_000),
        ("T", 1_000_000_000_000),
        ("P", 1_000_000_000_000_000),
        ("Ki", 1 << 10),
        ("Mi", 1 << 20),
        ("Gi", 1 << 30),
        ("Ti", 1 << 40),
        ("Pi", 1 << 50),
    ];
    scale(value, &UNITS, "Ki, Mi, Gi, Ti, Pi, k, M, G, T, P, or none for bytes")
}

/// A plain count.
///
/// # Errors
/// [`QuantityError`] with what to write instead.
pub fn parse_count(value: &str) -> Result<u64, QuantityError> {
    scale(value, &[("", 1)], "none: a plain number")
}

fn scale(value: &str, units: &[(&str, u64)], known: &'static str) -> Result<u64, QuantityError> {
    let end = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let (digits, unit) = value.split_at(end);
    if digits.is_empty() {
        return Err(QuantityError::NotANumber(value.to_owned()));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        let (value, unit) = (value.to_owned(), unit.to_owned());
        return Err(QuantityError::UnknownUnit { value, unit, known });
    };
    let number: u64 = digits.parse().map_err(|_| QuantityError::TooLarge(value.to_owned()))?;
    number.checked_mul(*factor).ok_or_else(|| QuantityError::TooLarge(value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_bytes_and_counts_are_read_in_kubernetes_notation() {
        assert_eq!(parse_millicores("2"), Ok(2000));
        assert_eq!(parse_millicores("500m"), Ok(500));
        assert_eq!(parse_bytes("64Gi"), Ok(64 << 30));
        assert_eq!(parse_bytes("1M"), Ok(1_000_000));
        assert_eq!(parse_count("110"), Ok(110));
    }

    #[test]
    fn an_unknown_unit_is_refused_with_those_that_exist() {
        assert_eq!(
            parse_bytes("64GiB").unwrap_err().to_string(),
            "unknown unit `GiB` in `64GiB`; use one of Ki, Mi, Gi, Ti, Pi, k, M, G, T, P, or none for bytes"
        );
        assert_eq!(
            parse_millicores("two").unwrap_err().to_string(),
            "`two` is not a number with a unit; write for instance `16`, `500m` or `64Gi`"
        );
        assert_eq!(
            parse_bytes("99999999999Pi").unwrap_err().to_string(),
            "`99999999999Pi` is too large"
        );
    }
}
