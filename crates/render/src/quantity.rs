//! Kubernetes quantities, compared and added by value. Grammar: apimachinery `resource.Quantity`.

/// A text that is no quantity.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not a quantity: write a number with an optional unit, such as 500m, 2 or 1Gi")]
pub struct QuantityError(pub String);

/// A quantity in thousandths of its unit, rounded up as Kubernetes does.
///
/// # Errors
/// [`QuantityError`] when the text is no quantity or too large.
pub fn milli(text: &str) -> Result<i128, QuantityError> {
    parse(text).ok_or_else(|| QuantityError(text.to_owned()))
}

fn parse(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text
        .char_indices()
        .find(|(at, c)| !(c.is_ascii_digit() || *c == '.' || (*at == 0 && matches!(c, '+' | '-'))))
        .map_or(text.len(), |(at, _)| at);
    let (number, unit) = text.split_at_checked(end)?;
    let negative = number.starts_with('-');
    let number = number.trim_start_matches(['+', '-']);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.len() > 18 || whole.len() > 24 {
        return None;
    }
    let digits: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let (multiplier, shrink) = unit_of(unit)?;
    // value = digits / 10^fraction * multiplier / shrink, in thousandths.
    let above = digits.checked_mul(multiplier)?.checked_mul(1000)?;
    let below = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(shrink)?;
    let value = above / below + i128::from(above % below != 0);
    Some(if negative { -value } else { value })
}

/// Multiplier and divisor of a unit.
fn unit_of(unit: &str) -> Option<(i128, i128)> {
    const fn power(base: i128, times: u32) -> i128 {
        base.pow(times)
    }
    Some(match unit {
        "" => (1, 1),
        "n" => (1, 1_000_000_000),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "k" => (1_000, 1),
        "M" => (power(1000, 2), 1),
        "G" => (power(1000, 3), 1),
        "T" => (power(1000, 4), 1),
        "P" => (power(1000, 5), 1),
        "E" => (power(1000, 6), 1),
        "Ki" => (1024, 1),
        "Mi" => (power(1024, 2), 1),
        "Gi" => (power(1024, 3), 1),
        "Ti" => (power(1024, 4), 1),
        "Pi" => (power(1024, 5), 1),
        "Ei" => (power(1024, 6), 1),
        exponent => {
            let digits = exponent.strip_prefix(['e', 'E'])?;
            let power: i32 = digits.parse().ok()?;
            let size = 10_i128.checked_pow(power.unsigned_abs().min(24))?;
            if power < 0 { (1, size) } else { (size, 1) }
        }
    })
}

/// The shortest plain text of an amount in thousandths.
pub fn format_milli(amount: i128) -> String {
    if amount % 1000 != 0 {
        return format!("{amount}m");
    }
    let whole = amount / 1000;
    for (unit, size) in [("Gi", 1_i128 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)] {
        if whole >= size && whole % size == 0 {
            return format!("{}{unit}", whole / size);
        }
    }
    whole.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_by_value() {
        for (text, expected) in [
            ("1", 1000),
            ("0.5", 500),
            (".5", 500),
            ("500m", 500),
            ("1k", 1_000_000),
            ("1Ki", 1_024_000),
            ("1.5Gi", 1_610_612_736_000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("25e-1", 2500),
            ("100u", 1),
            ("-2", -2000),
            ("2E", 2_000_000_000_000_000_000_000),
        ] {
            assert_eq!(milli(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_an_example_of_one() {
        for text in ["", "m", "1 Gi", "1Xi", "one", "1.2.3", "99999999999999999999999999"] {
            let error = milli(text).unwrap_err().to_string();
            assert!(error.contains("such as 500m, 2 or 1Gi"), "{error}");
        }
    }

    #[test]
    fn amounts_are_written_short() {
        for (amount, expected) in
            [(500, "500m"), (2000, "2"), (1_073_741_824_000, "1Gi"), (67_108_864_000, "64Mi")]
        {
            assert_eq!(format_milli(amount), expected);
        }
    }
}
