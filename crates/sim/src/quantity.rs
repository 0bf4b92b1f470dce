//! Kubernetes quantities as thousandths of a unit. Knows the notation only.

/// The value in thousandths, for instance `500m` is 500 and `1Ki` is 1,024,000; rounded up, none
/// when it does not parse.
pub fn thousandths(text: &str) -> Option<i128> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && !"+-.".contains(c)).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let (up, down) = factor(unit)?;
    let numerator = digits.checked_mul(up)?.checked_mul(1000)?;
    let denominator = down.checked_mul(scale)?;
    Some((numerator + denominator - 1).div_euclid(denominator))
}

fn factor(unit: &str) -> Option<(i128, i128)> {
    let decimal = |power: u32| 10_i128.pow(power);
    Some(match unit {
        "" => (1, 1),
        "n" => (1, decimal(9)),
        "u" => (1, decimal(6)),
        "m" => (1, decimal(3)),
        "k" => (decimal(3), 1),
        "M" => (decimal(6), 1),
        "G" => (decimal(9), 1),
        "T" => (decimal(12), 1),
        "P" => (decimal(15), 1),
        "E" => (decimal(18), 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        exponent => {
            let power: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let scale = 10_i128.checked_pow(power.unsigned_abs())?;
            if power < 0 { (1, scale) } else { (scale, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_in_every_notation() {
        for (text, value) in [
            ("1", 1000),
            ("100m", 100),
            ("1.5", 1500),
            ("1Ki", 1_024_000),
            ("64Mi", 64 << 20),
            ("2e3", 2_000_000),
            ("1n", 1),
            ("0", 0),
        ] {
            let value = if text == "64Mi" { value * 1000 } else { value };
            assert_eq!(thousandths(text), Some(value), "{text}");
        }
        assert_eq!(thousandths("many"), None);
        assert_eq!(thousandths("1GB"), None);
    }
}
