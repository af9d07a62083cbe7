//! The PROXY protocol: who may send its header, and what is sent on.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::section::{Found, Origin, Reader, Section};
use crate::config::value;

/// Where connections begin with a PROXY protocol header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyIn {
    /// From where they may come; not empty.
    pub trusted: Vec<Network>,
    /// How long the header may take.
    pub timeout: Duration,
}

impl ProxyIn {
    /// Whether what comes from this address may say who the client is.
    pub fn trusts(&self, source: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(source))
    }
}

/// Addresses with a prefix in common: `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of an address and a number of bits; none if there are too many.
    pub fn new(base: IpAddr, prefix: u8) -> Option<Network> {
        let longest = if base.is_ipv4() { 32 } else { 128 };
        (prefix <= longest).then_some(Network { base, prefix })
    }

    /// Whether an address is one of them. An IPv4 address is one, however it is written.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let differing = match (self.base.to_canonical(), addr.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(addr)) => {
                (base.to_bits() ^ addr.to_bits()).leading_zeros()
            }
            (IpAddr::V6(base), IpAddr::V6(addr)) => {
                (base.to_bits() ^ addr.to_bits()).leading_zeros()
            }
            _ => return false,
        };
        differing >= u32::from(self.prefix)
    }
}

/// What connections to an agent begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyOut {
    /// The client's bytes.
    #[default]
    Off,
    /// A header of a line of text.
    V1,
    /// A binary header, with a checksum.
    V2,
}

/// Whether a listener expects a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Expected {
    /// No: the first byte is the client's.
    Off,
    /// Yes, from everyone.
    Required,
}

/// As it was read.
pub(super) struct RawProxyIn {
    expected: Found<Expected>,
    trusted: Found<Vec<Network>>,
    timeout: Found<Duration>,
}

impl RawProxyIn {
    pub(super) fn read(table: &mut Section<'_>) -> Self {
        let nobody = Found {
            value: Vec::new(),
            origin: Origin::Default,
        };
        Self {
            expected: table.read("proxy_protocol", value::expected, Expected::Off),
            trusted: table.read_or("proxy_trusted", value::networks, &nobody, "nobody"),
            timeout: table.read(
                "proxy_timeout",
                value::positive_duration,
                Duration::from_secs(5),
            ),
        }
    }

    pub(super) fn check(&self, path: &str, reader: &Reader<'_>) {
        let is_required = self.expected.value == Expected::Required;
        let trusts_nobody = self.trusted.is_sound() && self.trusted.value.is_empty();
        if is_required && trusts_nobody {
            let what = "a header is required, and nobody is trusted to send one".to_owned();
            let help = "write proxy_trusted = [\"10.0.0.0/8\"], with the balancer's networks";
            let (key, origin) = match self.trusted.is_given() {
                true => ("proxy_trusted", &self.trusted.origin),
                false => ("proxy_protocol", &self.expected.origin),
            };
            reader.error(origin, &format!("{path}.{key}"), what, help.to_owned());
        }
        if !is_required && self.expected.is_sound() && self.trusted.is_given() {
            let what = "means nothing without proxy_protocol = \"required\"".to_owned();
            let help = "leave it out, or write proxy_protocol = \"required\"".to_owned();
            let key = format!("{path}.proxy_trusted");
            reader.warning(&self.trusted.origin, &key, what, help);
        }
    }

    pub(super) fn into_proxy(self) -> Option<ProxyIn> {
        (self.expected.value == Expected::Required).then_some(ProxyIn {
            trusted: self.trusted.value,
            timeout: self.timeout.value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_its_prefix() {
        for (base, prefix, addr, inside) in [
            ("10.0.0.0", 8, "10.255.0.1", true),
            ("10.0.0.0", 8, "11.0.0.1", false),
            ("10.0.0.0", 8, "::ffff:10.1.2.3", true),
            ("192.0.2.7", 32, "192.0.2.7", true),
            ("192.0.2.7", 32, "192.0.2.6", false),
            ("0.0.0.0", 0, "203.0.113.1", true),
            ("0.0.0.0", 0, "2001:db8::1", false),
            ("2001:db8::", 32, "2001:db8:ffff::1", true),
            ("2001:db8::", 32, "2001:db9::1", false),
        ] {
            let network = Network::new(base.parse().unwrap(), prefix).unwrap();
            let contains = network.contains(addr.parse().unwrap());
            assert_eq!(contains, inside, "{base}/{prefix} and {addr}");
        }
        assert_eq!(Network::new("10.0.0.0".parse().unwrap(), 33), None);
    }
}
