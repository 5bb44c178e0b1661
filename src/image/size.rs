use std::fmt;
use std::str::FromStr;

/// A number of bytes, written in decimal units: `2.6 GB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl Size {
    /// Formats the change since `before`: `+120.0 MB`, `-1.2 GB` or `+0 B`.
    #[must_use]
    pub fn change_since(self, before: Self) -> String {
        let sign = if self < before { '-' } else { '+' };
        format!("{sign}{}", Self(self.0.abs_diff(before.0)))
    }
}

const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 1000 {
            return write!(formatter, "{} B", self.0);
        }
        // Integers avoid rounding 999.95 kB to `1000.0 kB`.
        let mut tenths = (u128::from(self.0) + 50) / 100;
        let mut unit = 0;
        while tenths >= 10_000 && unit + 1 < UNITS.len() {
            tenths = (tenths + 500) / 1000;
            unit += 1;
        }
        write!(formatter, "{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// A text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size: expected a number and a unit, such as `2.6 GB`")]
pub struct SizeError(String);

impl FromStr for Size {
    type Err = SizeError;

    /// Parses a number with at most three decimals, and a unit from kB to TB.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || SizeError(text.escape_debug().to_string());
        let unit_at = text.find(|character: char| character.is_ascii_alphabetic());
        let (number, unit) = text.split_at(unit_at.ok_or_else(refuse)?);
        let (whole, decimals) =
            number.trim_end().split_once('.').unwrap_or((number.trim_end(), "0"));
        let is_number = |part: &str, most| {
            (1..=most).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        let exponent = UNITS[..4].iter().position(|known| *known == unit).ok_or_else(refuse)?;
        if !is_number(whole, 6) || !is_number(decimals, 3) {
            return Err(refuse());
        }
        // At most six and three digits, times at most 10^9: this fits.
        let thousandths: u64 = format!("{whole}{decimals:0<3}").parse().map_err(|_| refuse())?;
        Ok(Self(thousandths * 1000_u64.pow(u32::try_from(exponent).map_err(|_| refuse())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_decimal_and_below_a_thousand() {
        let shown = [0, 999, 1000, 1050, 999_949, 999_950, 48_200_000, 1_234_000_000, u64::MAX];
        let shown = shown.map(|size| Size(size).to_string());
        let expected = [
            "0 B", "999 B", "1.0 kB", "1.1 kB", "999.9 kB", "1.0 MB", "48.2 MB", "1.2 GB",
            "18.4 EB",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn changes_have_a_sign() {
        let change = |now, before| Size(now).change_since(Size(before));
        assert_eq!((change(3_000_000, 1_000_000), change(1, 3)), ("+2.0 MB".into(), "-2 B".into()));
    }

    #[test]
    fn a_size_has_a_number_and_a_unit() {
        let sizes = [("2.6 GB", 2_600_000_000), ("500MB", 500_000_000), ("1.125 kB", 1125)];
        for (text, size) in sizes {
            assert_eq!(text.parse(), Ok(Size(size)), "{text}");
        }
        for text in ["", "2.6", "GB", "2.6 GiB", "2,6 GB", "-1 GB", "1.2.3 GB", ".5 GB", "2 gb"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
