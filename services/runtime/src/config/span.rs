//! Lengths of time as people write them.

use std::fmt;

/// The text is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadSpan;

impl fmt::Display for BadSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be like 500ms, 30s, 15m, 1m30s, 1h or 1d")
    }
}

impl std::error::Error for BadSpan {}

/// Microseconds of a text such as `15m` or `1m30s`: numbers with the units
/// `d`, `h`, `m`, `s`, `ms`, the largest first, none twice.
pub fn parse_span(text: &str) -> Result<u64, BadSpan> {
    const UNITS: [(&str, u64); 5] = [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
    ];
    let mut rest = text;
    let mut units = UNITS.as_slice();
    let mut total = 0_u64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| BadSpan)?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let at = units.iter().position(|(unit, _)| *unit == &rest[..letters]).ok_or(BadSpan)?;
        let part = number.checked_mul(units[at].1).ok_or(BadSpan)?;
        total = total.checked_add(part).ok_or(BadSpan)?;
        units = &units[at + 1..];
        rest = &rest[letters..];
    }
    if total == 0 { Err(BadSpan) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        let good = [
            ("500ms", 500_000),
            ("30s", 30_000_000),
            ("15m", 900_000_000),
            ("1m30s", 90_000_000),
            ("1h", 3_600_000_000),
            ("1d2h", 93_600_000_000),
            ("1s5ms", 1_005_000),
        ];
        for (text, us) in good {
            assert_eq!(parse_span(text), Ok(us), "{text}");
        }
        for text in
            ["", "0s", "15", "m", "1 m", "1m1m", "30s1m", "-1s", "1.5h", "1x", "99999999999999d"]
        {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }
}
