//! The upstreams: their endpoints, how they are, and what is on them.

use serde::{Deserialize, Serialize};

use crate::session::{Part, Phase};

use super::Control;
use super::problem::Problem;

/// An upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UpstreamView {
    /// Its name.
    pub name: String,
    /// Its endpoints, those that are gone but have sessions on them included.
    pub endpoints: Vec<EndpointView>,
}

/// An endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointView {
    /// `ADDRESS:PORT` or `unix:/PATH`.
    pub address: String,
    /// Whether the last attempt to reach it, or its checks, went well.
    pub healthy: bool,
    /// Whether it is passed over for its failures.
    pub ejected: bool,
    /// Whether its name has other addresses now.
    pub gone: bool,
    /// Sessions and requests on it.
    pub sessions: usize,
    /// How often it was passed over.
    pub ejections: u64,
    /// The phase of its own drain; `serving` without one.
    pub phase: String,
}

impl Control {
    /// The answer to `GET /v1/upstreams`.
    pub(super) fn list_upstreams(&self) -> Vec<UpstreamView> {
        let view = self.phase.borrow().clone();
        let phase_of = |part| {
            let own = view.parts.iter().find(|view| view.part == part);
            own.map_or(Phase::Serving, |view| view.phase)
        };
        let agents = self.upstreams.agents();
        let upstreams = agents.iter().map(|upstream| {
            let endpoints = upstream.members().into_iter();
            let endpoints = endpoints.map(|member| EndpointView {
                address: member.label().to_string(),
                healthy: member.is_well(),
                ejected: member.is_ejected(),
                gone: member.is_gone(),
                sessions: member.sessions(),
                ejections: member.ejections(),
                phase: phase_of(Part::Endpoint(member.id())).label().to_owned(),
            });
            UpstreamView {
                name: upstream.name().to_string(),
                endpoints: endpoints.collect(),
            }
        });
        upstreams.collect()
    }

    /// The endpoint that a path names: `NAME/endpoints/ADDRESS/drain`, the address as it is listed,
    /// and percent-encoded or not.
    pub(super) fn endpoint(&self, path: &str) -> Result<Part, Problem> {
        let no_such = |what: &str, known: Vec<String>| {
            let known = known.join(", ");
            Problem::not_found(format!("there is no {what} (help: there are {known})"))
        };
        let (name, address) = path
            .strip_suffix("/drain")
            .and_then(|path| path.split_once("/endpoints/"))
            .ok_or_else(|| {
                Problem::not_found("there is /v1/upstreams/NAME/endpoints/ADDRESS/drain")
            })?;
        let agents = self.upstreams.agents();
        let mut upstreams = agents.iter();
        let Some(upstream) = upstreams.find(|upstream| *upstream.name().0 == *name) else {
            let known = agents.iter();
            let known = known.map(|upstream| upstream.name().to_string()).collect();
            return Err(no_such(&format!("upstream {name:?}"), known));
        };
        let members = upstream.members();
        let address = decoded(address);
        match members.iter().find(|member| *member.label().0 == *address) {
            Some(member) => Ok(Part::Endpoint(member.id())),
            None => {
                let known = members.iter().map(|member| member.label().to_string());
                Err(no_such(&format!("endpoint {address:?}"), known.collect()))
            }
        }
    }
}

/// A text without its percent-encoding (RFC 3986 2.1); what is none is left as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let code = digits
            .filter(|two| two.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .and_then(|two| u8::from_str_radix(two, 16).ok());
        match (first, code) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_encoded() {
        for (text, address) in [
            ("127.0.0.1:9000", "127.0.0.1:9000"),
            ("127.0.0.1%3A9000", "127.0.0.1:9000"),
            ("unix:%2Frun%2fagent.sock", "unix:/run/agent.sock"),
            ("unix:/run/agent.sock", "unix:/run/agent.sock"),
            ("50%", "50%"),
            ("%+1%zz", "%+1%zz"),
        ] {
            assert_eq!(decoded(text), address);
        }
    }
}
