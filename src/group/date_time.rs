/// The time given by an RFC 3339 text, in seconds since 1970-01-01T00:00:00Z. Fractions of a second
/// are dropped; a leap second is the first second of the next minute.
///
/// A time without offset from UTC is `None` like any other text outside the grammar: RFC 4745 §7
/// forbids it, since it denotes no definite moment.
pub(super) fn parse_date_time(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |at: usize, digits: usize, highest: i64| -> Option<i64> {
        let field = bytes.get(at..at + digits)?;
        let value = field.iter().try_fold(0, |value, b| {
            b.is_ascii_digit().then(|| value * 10 + i64::from(b - b'0'))
        })?;
        (value <= highest).then_some(value)
    };
    let is = |at: usize, expected: &[u8]| bytes.get(at).is_some_and(|b| expected.contains(b));

    let (year, month, day) = (number(0, 4, 9999)?, number(5, 2, 12)?, number(8, 2, 31)?);
    let (hour, minute, second) = (number(11, 2, 23)?, number(14, 2, 59)?, number(17, 2, 60)?);
    let separators = is(4, b"-") && is(7, b"-") && is(10, b"Tt") && is(13, b":") && is(16, b":");
    if !separators || month == 0 || day == 0 || day > days_of_month(year, month) {
        return None;
    }

    let mut at = 19;
    if is(at, b".") {
        let digits = bytes[at + 1..].iter().take_while(|b| b.is_ascii_digit());
        match digits.count() {
            0 => return None,
            count => at += 1 + count,
        }
    }
    let (offset, end) = if is(at, b"Zz") {
        (0, at + 1)
    } else {
        let sign = match bytes.get(at)? {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (hours, minutes) = (number(at + 1, 2, 23)?, number(at + 4, 2, 59)?);
        if !is(at + 3, b":") {
            return None;
        }
        (sign * (hours * 60 + minutes) * 60, at + 6)
    };
    (end == bytes.len()).then(|| {
        ((days_since_1970(year, month, day) * 24 + hour) * 60 + minute) * 60 + second - offset
    })
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// In the Gregorian calendar, which RFC 3339 extends backwards.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Leap days up to the end of the previous year, minus those before 1970.
    let before = year - 1;
    let leap_days =
        before.div_euclid(4) - before.div_euclid(100) + before.div_euclid(400) - LEAP_DAYS_TO_1970;
    let days_of_year: i64 = (1..month).map(|month| days_of_month(year, month)).sum();
    (year - 1970) * 365 + leap_days + days_of_year + day - 1
}

const LEAP_DAYS_TO_1970: i64 = 1969 / 4 - 1969 / 100 + 1969 / 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1969-12-31T23:59:59z", -1),
            ("2000-02-29t12:00:00Z", 951_825_600),
            ("2001-09-09T01:46:40Z", 1_000_000_000),
            ("2038-01-19T03:14:08Z", 2_147_483_648),
            ("0000-01-01T00:00:00Z", -62_167_219_200),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
            // The examples of RFC 3339 §5.8.
            ("1985-04-12T23:20:50.52Z", 482_196_050),
            ("1996-12-19T16:39:57-08:00", 851_042_397),
            ("1990-12-31T23:59:60Z", 662_688_000),
            ("1990-12-31T15:59:60-08:00", 662_688_000),
            ("1937-01-01T12:00:27.87+00:20", -1_041_337_173),
        ] {
            assert_eq!(parse_date_time(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn not_times() {
        for text in [
            "",
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-00-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2026-04-31T00:00:00Z",
            "2026-01-00T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:61Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+0100",
            "2026-01-01T00:00:00+24:00",
            "2026-01-01T00:00:00ZZ",
            "2026-01-01T00:00:00+01:00x",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:00\u{e9}",
        ] {
            assert_eq!(parse_date_time(text), None, "{text}");
        }
    }
}
