//! Formats durations, sizes and counts.

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

/// Formats a number of bytes in decimal units, as `docker images` does: `1.2 GB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    // Integers avoid rounding 999.95 kB to `1000.0 kB`.
    let mut tenths = (u128::from(count) + 50) / 100;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths = (tenths + 500) / 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
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
    fn durations_never_show_sixty_of_anything() {
        let shown = [0, 44, 400, 12_340, 59_949, 59_960, 192_000, 3_599_499, 3_599_500, 3_720_000];
        let shown = shown.map(|millis| duration(Duration::from_millis(millis)));
        let expected = [
            "0.0s", "0.0s", "0.4s", "12.3s", "59.9s", "1m00s", "3m12s", "59m59s", "1h00m", "1h02m",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn sizes_are_decimal_and_below_a_thousand() {
        let shown = [0, 999, 1000, 999_949, 999_950, 2_240_000_000, u64::MAX].map(bytes);
        let expected = ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "2.2 GB", "18.4 EB"];
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_count_of_one_has_no_plural() {
        assert_eq!(count(1, "variant"), "1 variant");
        assert_eq!(count(0, "variant"), "0 variants");
    }
}
