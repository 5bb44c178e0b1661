//! Formats durations and counts.

use std::time::Duration;

/// Formats a duration: `0.4s`, `12.3s`, `3m12s`, `1h02m`.
#[must_use]
pub fn duration(elapsed: Duration) -> String {
    // Rounds to tenths first, so that 59.96 s becomes `1m00s`, not `60.0s`.
    let tenths = (elapsed.as_millis() + 50) / 100;
    if tenths < 600 {
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    let seconds = (elapsed.as_millis() + 500) / 1000;
    if seconds < 3600 {
        return format!("{}m{:02}s", seconds / 60, seconds % 60);
    }
    let minutes = (seconds + 30) / 60;
    format!("{}h{:02}m", minutes / 60, minutes % 60)
}

/// Formats a count with its noun: `1 variant`, `48 variants`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_into_the_next_unit() {
        let texts = [0, 44, 400, 12_340, 59_949, 59_960, 192_000, 3_599_499, 3_599_500, 3_720_000];
        let texts = texts.map(|millis| duration(Duration::from_millis(millis)));
        let expected = [
            "0.0s", "0.0s", "0.4s", "12.3s", "59.9s", "1m00s", "3m12s", "59m59s", "1h00m", "1h02m",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn a_count_of_one_has_no_plural() {
        assert_eq!(count(1, "variant"), "1 variant");
        assert_eq!(count(0, "variant"), "0 variants");
    }
}
