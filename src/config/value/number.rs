//! Counts, sizes and codes.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;

use bytesize::ByteSize;
use toml::de::DeValue;

use super::{Show, Wrong, kind, string};

/// hyper reads a request's head into a buffer that cannot be smaller than 8 KiB. Above a megabyte
/// stands no request that anyone would send in good faith, and every connection may cost as much.
const HEADER_BYTES: RangeInclusive<u64> = 8 * 1024..=1024 * 1024;

/// The `http` crate's map of fields holds no more than 32768.
const HEADERS: RangeInclusive<usize> = 1..=32768;

/// A worker is a thread with a core of its own; no machine has more.
const WORKERS: RangeInclusive<NonZeroUsize> =
    NonZeroUsize::MIN..=NonZeroUsize::MIN.saturating_add(1023);

/// More than a machine has memory for.
const CONNECTIONS: RangeInclusive<NonZeroUsize> =
    NonZeroUsize::MIN..=NonZeroUsize::MIN.saturating_add(99_999_999);

pub(super) fn integer<T>(value: &DeValue<'_>, range: RangeInclusive<T>) -> Result<T, Wrong>
where
    T: TryFrom<usize> + PartialOrd + fmt::Display,
{
    let help = format!(
        "write a whole number from {} to {}",
        range.start(),
        range.end()
    );
    let DeValue::Integer(number) = value else {
        let found = match value {
            DeValue::String(_) => "a string; leave the quotes out",
            other => kind(other),
        };
        return Err(Wrong::new(
            format!("expected a number, found {found}"),
            help,
        ));
    };
    usize::from_str_radix(number.as_str(), number.radix())
        .ok()
        .and_then(|number| T::try_from(number).ok())
        .filter(|number| range.contains(number))
        .ok_or_else(|| Wrong::new(format!("`{number}` is out of range"), help))
}

/// How many workers, from the text of a flag.
pub(in crate::config) fn parse_workers(text: &str) -> Result<NonZeroUsize, Wrong> {
    text.parse()
        .ok()
        .filter(|number| WORKERS.contains(number))
        .ok_or_else(|| {
            let help = format!(
                "write a whole number from {} to {}",
                WORKERS.start(),
                WORKERS.end()
            );
            Wrong::new(format!("`{text}` is no number of workers"), help)
        })
}

/// How many workers.
pub(in crate::config) fn workers(value: &DeValue<'_>) -> Result<NonZeroUsize, Wrong> {
    integer(value, WORKERS)
}

/// The most sessions that are asked to go at once.
pub(in crate::config) fn at_once(value: &DeValue<'_>) -> Result<NonZeroUsize, Wrong> {
    integer(value, CONNECTIONS)
}

/// The most client connections.
pub(in crate::config) fn connections(value: &DeValue<'_>) -> Result<NonZeroUsize, Wrong> {
    integer(value, CONNECTIONS)
}

/// The most header fields in a request.
pub(in crate::config) fn header_count(value: &DeValue<'_>) -> Result<usize, Wrong> {
    integer(value, HEADERS)
}

/// An exit code of a process.
pub(in crate::config) fn exit_code(value: &DeValue<'_>) -> Result<u8, Wrong> {
    integer(value, 0..=u8::MAX)
}

/// The status code of a Close (RFC 6455, section 7.4) that makes a client come back.
pub(in crate::config) fn close_code(value: &DeValue<'_>) -> Result<u16, Wrong> {
    const HELP: &str = "write 1012 (service restart), 1001 (going away) for clients that know no \
                        1012, or a code of your own from 3000 to 4999";
    let code = integer(value, 0..=u16::MAX).map_err(|wrong| Wrong::new(wrong.what, HELP))?;
    let why = match code {
        1001 | 1012 | 3000..=4999 => return Ok(code),
        1000 => "tells clients that all is done, and some then stay away (Phoenix, Supabase)",
        // RFC 6455, section 7.4.1.
        1005 | 1006 | 1015 => "never goes over the wire: clients report it themselves",
        _ => "does not tell a client to come back",
    };
    Err(Wrong::new(format!("`{code}` {why}"), HELP))
}

/// The largest request head, in bytes.
pub(in crate::config) fn header_bytes(value: &DeValue<'_>) -> Result<Size, Wrong> {
    const EXAMPLE: &str = "a size from \"8KiB\" to \"1MiB\"";
    if let DeValue::Integer(number) = value {
        let help = format!("write the unit too, in quotes: \"{number}B\"");
        return Err(Wrong::new(format!("`{number}` has no unit"), help));
    }
    let text = string(value, "a size", EXAMPLE)?;
    let size = text.parse::<ByteSize>().map_err(|_| {
        let help = "write a number and a unit, such as \"64KiB\"";
        Wrong::new(format!("`{text}` is not a size"), help)
    })?;
    usize::try_from(size.as_u64())
        .ok()
        .filter(|_| HEADER_BYTES.contains(&size.as_u64()))
        .map(Size)
        .ok_or_else(|| {
            Wrong::new(
                format!("`{text}` is out of range"),
                format!("write {EXAMPLE}"),
            )
        })
}

/// A number of bytes, written with a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct Size(pub(in crate::config) usize);

impl Show for Size {
    fn show(&self) -> String {
        match self.0 {
            bytes if bytes.is_multiple_of(1024) => format!("\"{}KiB\"", bytes / 1024),
            bytes => format!("\"{bytes}B\""),
        }
    }
}

macro_rules! show_as_number {
    ($($type:ty),*) => {$(
        impl Show for $type {
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

show_as_number!(u8, u16, usize, NonZeroUsize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn counts_are_whole_numbers_above_zero() {
        assert_eq!(taken("2", connections).get(), 2);
        assert_eq!(taken("0x10", connections).get(), 16);
        assert_eq!(taken("1_000", connections).get(), 1000);
        for (text, what) in [
            ("0", "`0` is out of range"),
            ("-1", "`-1` is out of range"),
            ("99999999999999999999", "is out of range"),
            ("1.5", "expected a number, found a fraction"),
            (
                "\"2\"",
                "expected a number, found a string; leave the quotes out",
            ),
        ] {
            refused(text, workers, what, "whole number from 1");
        }
    }

    #[test]
    fn an_exit_code_has_eight_bits() {
        assert_eq!(taken("255", exit_code), 255);
        refused("256", exit_code, "`256` is out of range", "from 0 to 255");
    }

    #[test]
    fn only_close_codes_that_bring_clients_back_are_taken() {
        for code in ["1001", "1012", "3000", "4999"] {
            assert_eq!(taken(code, close_code).to_string(), code);
        }
        for (code, why) in [
            ("1000", "stay away"),
            ("1005", "never goes over the wire"),
            ("1006", "never goes over the wire"),
            ("1015", "never goes over the wire"),
            ("1013", "does not tell a client to come back"),
            ("2999", "does not tell a client to come back"),
            ("5000", "does not tell a client to come back"),
            ("70000", "is out of range"),
        ] {
            refused(code, close_code, why, "write 1012");
        }
    }

    #[test]
    fn sizes_have_a_unit_and_suit_hyper() {
        assert_eq!(taken("\"64KiB\"", header_bytes), Size(65536));
        assert_eq!(taken("\"8KiB\"", header_bytes), Size(8192));
        assert_eq!(taken("\"1MiB\"", header_bytes), Size(1024 * 1024));
        assert_eq!(Size(65536).show(), "\"64KiB\"");
        refused("65536", header_bytes, "`65536` has no unit", "\"65536B\"");
        refused(
            "\"4KiB\"",
            header_bytes,
            "`4KiB` is out of range",
            "\"8KiB\"",
        );
        refused(
            "\"2MiB\"",
            header_bytes,
            "`2MiB` is out of range",
            "\"1MiB\"",
        );
        refused(
            "\"64 stones\"",
            header_bytes,
            "`64 stones` is not a size",
            "\"64KiB\"",
        );
    }
}
