//! Networks, rates, sizes and shares at the edge.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use bytesize::ByteSize;
use toml::de::DeValue;

use super::choice::{Choice, word};
use super::number::integer;
use super::{Show, Wrong, connections, kind, positive_duration, string};
use crate::config::edge::{Expected, Network, ProxyOut};

/// More in a second than a process takes on.
const RATES: std::ops::RangeInclusive<NonZeroU32> =
    NonZeroU32::MIN..=NonZeroU32::MIN.saturating_add(999_999);

/// The longest of the system's keepalive times (tcp(7)), in seconds.
const LONGEST_KEEPALIVE: u64 = 32_767;

const NETWORK: &str = "\"10.0.0.0/8\"";

impl Choice for Expected {
    const WORDS: &'static [(&'static str, Self)] =
        &[("off", Expected::Off), ("required", Expected::Required)];
}

impl Choice for ProxyOut {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", ProxyOut::Off),
        ("v1", ProxyOut::V1),
        ("v2", ProxyOut::V2),
    ];
}

/// What connections to an agent begin with.
pub(in crate::config) fn proxy_out(value: &DeValue<'_>) -> Result<ProxyOut, Wrong> {
    word(value)
}

/// Whether a PROXY protocol header is expected.
pub(in crate::config) fn expected(value: &DeValue<'_>) -> Result<Expected, Wrong> {
    word(value)
}

/// A list of networks.
pub(in crate::config) fn networks(value: &DeValue<'_>) -> Result<Vec<Network>, Wrong> {
    let DeValue::Array(items) = value else {
        let what = format!("expected a list, found {}", kind(value));
        return Err(Wrong::new(what, format!("write [{NETWORK}]")));
    };
    let network = |item: &DeValue<'_>| {
        let text = string(item, "a network", NETWORK)?;
        parse_network(text).ok_or_else(|| {
            let what = format!("`{text}` is not a network");
            Wrong::new(
                what,
                format!("write an address and its bits, such as {NETWORK}"),
            )
        })
    };
    items.iter().map(|item| network(item.get_ref())).collect()
}

/// `10.0.0.0/8`; an address alone is a network of one.
fn parse_network(text: &str) -> Option<Network> {
    match text.split_once('/') {
        Some((base, prefix)) if prefix.bytes().all(|b| b.is_ascii_digit()) => {
            Network::new(base.parse().ok()?, prefix.parse().ok()?)
        }
        Some(_) => None,
        None => {
            let base: IpAddr = text.parse().ok()?;
            Network::new(base, if base.is_ipv4() { 32 } else { 128 })
        }
    }
}

/// A duration that is not zero, for what is off without one.
pub(in crate::config) fn optional_duration(value: &DeValue<'_>) -> Result<Option<Duration>, Wrong> {
    positive_duration(value).map(Some)
}

/// A duration of whole seconds, as the system counts its probes.
pub(in crate::config) fn whole_seconds(value: &DeValue<'_>) -> Result<Duration, Wrong> {
    let duration = positive_duration(value)?;
    let fits = duration.subsec_nanos() == 0 && duration.as_secs() <= LONGEST_KEEPALIVE;
    fits.then_some(duration).ok_or_else(|| {
        Wrong::new(
            "the system counts whole seconds, up to 32767",
            "write such as \"10s\"",
        )
    })
}

/// How many probes.
pub(in crate::config) fn probes(value: &DeValue<'_>) -> Result<u8, Wrong> {
    integer(value, 1..=127)
}

/// A number of connections or sessions, for what is without limit otherwise.
pub(in crate::config) fn some_connections(
    value: &DeValue<'_>,
) -> Result<Option<NonZeroUsize>, Wrong> {
    connections(value).map(Some)
}

/// So many in a second, for what is without limit otherwise.
pub(in crate::config) fn some_rate(value: &DeValue<'_>) -> Result<Option<NonZeroU32>, Wrong> {
    let help = || {
        format!(
            "write a whole number from {} to {}",
            RATES.start(),
            RATES.end()
        )
    };
    let number: usize = integer(value, 0..=usize::MAX)
        .map_err(|Wrong { what, .. }| Wrong { what, help: help() })?;
    let rate = u32::try_from(number).ok().and_then(NonZeroU32::new);
    let rate = rate.filter(|rate| RATES.contains(rate));
    let wrong = || Wrong::new(format!("`{number}` is out of range"), help());
    rate.map(Some).ok_or_else(wrong)
}

/// A number of bytes above zero, with its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) struct Bytes(pub(in crate::config) u64);

/// A size, for what is without limit otherwise.
pub(in crate::config) fn some_bytes(value: &DeValue<'_>) -> Result<Option<Bytes>, Wrong> {
    if let DeValue::Integer(number) = value {
        let help = format!("write the unit too, in quotes: \"{number}B\"");
        return Err(Wrong::new(format!("`{number}` has no unit"), help));
    }
    let text = string(value, "a size", "such as \"64KiB\"")?;
    let size = text.parse::<ByteSize>().map_err(|_| {
        let help = "write a number and a unit, such as \"64KiB\"";
        Wrong::new(format!("`{text}` is not a size"), help)
    })?;
    match size.as_u64() {
        0 => Err(Wrong::new(
            "must be more than zero",
            "leave it out for no limit",
        )),
        bytes => Ok(Some(Bytes(bytes))),
    }
}

/// A part of a whole, from 0.0 to below 1.0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::config) struct Share(pub(in crate::config) f64);

impl Show for Share {
    fn show(&self) -> String {
        format!("\"{}%\"", self.0 * 100.0)
    }
}

/// A share such as `10%`; none of it is one.
pub(in crate::config) fn share(value: &DeValue<'_>) -> Result<Share, Wrong> {
    let text = string(value, "a share", "such as \"10%\"")?;
    let number = text.trim().strip_suffix('%');
    let percent = number.and_then(|number| number.trim_end().parse::<f64>().ok());
    match percent {
        Some(percent) if (0.0..=90.0).contains(&percent) => Ok(Share(percent / 100.0)),
        _ => Err(Wrong::new(
            format!("`{text}` is not a share from \"0%\" to \"90%\""),
            "write such as \"10%\"",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn networks_are_a_list_of_addresses_and_bits() {
        let list = taken(
            "[\"10.0.0.0/8\", \"2001:db8::/32\", \"192.0.2.1\"]",
            networks,
        );
        assert_eq!(list.len(), 3);
        assert!(list[2].contains("192.0.2.1".parse().unwrap()));
        assert!(!list[2].contains("192.0.2.2".parse().unwrap()));
        refused("\"10.0.0.0/8\"", networks, "expected a list", "[");
        for text in [
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "ten",
            "::/129",
        ] {
            let list = format!("[\"{text}\"]");
            refused(&list, networks, "is not a network", "10.0.0.0/8");
        }
    }

    #[test]
    fn rates_sizes_and_shares() {
        assert_eq!(taken("20", some_rate), NonZeroU32::new(20));
        refused("0", some_rate, "out of range", "from 1");
        assert_eq!(taken("\"1MiB\"", some_bytes), Some(Bytes(1 << 20)));
        refused("\"0B\"", some_bytes, "more than zero", "leave it out");
        refused("5", some_bytes, "has no unit", "\"5B\"");
        assert_eq!(taken("\"10%\"", share), Share(0.1));
        assert_eq!(taken("\"0%\"", share), Share(0.0));
        assert_eq!(Share(0.1).show(), "\"10%\"");
        refused("\"95%\"", share, "is not a share", "10%");
        refused("\"1500ms\"", whole_seconds, "whole seconds", "10s");
        refused("200", probes, "out of range", "127");
    }
}
