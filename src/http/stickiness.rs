//! What makes two requests the same client's, where an endpoint is chosen by that.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::COOKIE;

use crate::config::{Balance, HashOn};
use crate::net::{Key, hash_of, hash_of_address};

/// What a request is hashed on; none where nothing is, or where the request does not have it.
pub(super) fn key_of(balance: &Balance, headers: &HeaderMap, client: IpAddr) -> Key {
    let Balance::Hash(on) = balance else {
        return None;
    };
    match on {
        HashOn::Address => Some(hash_of_address(client)),
        HashOn::Header(name) => headers.get(name).map(|value| hash_of(value.as_bytes())),
        HashOn::Cookie(name) => cookie(headers, name).map(hash_of),
    }
}

/// The value of the first cookie of this name (RFC 6265 4.2.1).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let fields = headers.get_all(COOKIE).into_iter();
    let pairs = fields.flat_map(|field| field.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| {
        let rest = pair.strip_prefix(name.as_bytes())?;
        rest.strip_prefix(b"=")
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use http::{HeaderName, HeaderValue};

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn key(on: HashOn, name: HeaderName, value: &'static str) -> Key {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        key_of(&Balance::Hash(on), &headers, CLIENT)
    }

    #[test]
    fn a_cookie_is_found_among_others_and_no_other_of_like_name() {
        let on = || HashOn::Cookie("sid".to_owned());
        let expected = Some(hash_of(b"a1"));
        for value in [
            "sid=a1",
            "x=1; sid=a1",
            "sid2=b;sid=a1 ; y=2",
            "xsid=b; sid=a1; sid=c",
        ] {
            assert_eq!(key(on(), COOKIE, value), expected, "{value}");
        }
        for value in ["", "SID=a1", "sid", "xsid=a1"] {
            assert_eq!(key(on(), COOKIE, value), None, "{value}");
        }
    }

    #[test]
    fn a_header_or_the_address_is_hashed_and_nothing_without_hash() {
        let name = HeaderName::from_static("x-user");
        let on = HashOn::Header(name.clone());
        assert_eq!(key(on.clone(), name.clone(), "u"), Some(hash_of(b"u")));
        assert_eq!(key(on, COOKIE, "u"), None);
        let address = key(HashOn::Address, name, "u");
        assert_eq!(address, Some(hash_of_address(CLIENT)));
        assert_eq!(key_of(&Balance::Least, &HeaderMap::new(), CLIENT), None);
    }
}
