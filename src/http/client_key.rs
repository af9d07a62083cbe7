//! What names a client: the value of the header that the operator chose.

use std::sync::Arc;

use http::HeaderValue;

/// The most bytes of a key; a client chooses it, and every session keeps its own.
const LONGEST: usize = 128;

/// Notes the key of a request in the place of the last one's. Requests of one client bring the same
/// again and again, which costs no allocation.
pub(super) fn note(last: &mut Option<Arc<str>>, value: Option<&HeaderValue>) {
    let key = value.and_then(key);
    if last.as_deref() != key {
        *last = key.map(Arc::from);
    }
}

/// What is kept of a value: nothing of one that is empty or no text.
fn key(value: &HeaderValue) -> Option<&str> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?.trim();
    let key = &text[..text.floor_char_boundary(LONGEST)];
    (!key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(bytes: &[u8]) -> Option<Arc<str>> {
        let mut last = Some(Arc::from("somebody else"));
        note(&mut last, Some(&HeaderValue::from_bytes(bytes).unwrap()));
        last
    }

    #[test]
    fn the_last_request_names_the_client() {
        assert_eq!(noted(b"anna").as_deref(), Some("anna"));
        assert_eq!(noted("änne".as_bytes()).as_deref(), Some("änne"));
        for no_name in [&b""[..], b" ", b"\xff\xfe"] {
            assert_eq!(noted(no_name), None, "{no_name:?}");
        }
        let mut last = noted(b"anna");
        note(&mut last, None);
        assert_eq!(last, None);
    }

    #[test]
    fn the_same_key_is_kept_as_it_is() {
        let mut last = noted(b"anna");
        let before = last.clone().unwrap();
        note(&mut last, Some(&HeaderValue::from_static("anna")));
        assert!(Arc::ptr_eq(&before, &last.unwrap()));
    }

    #[test]
    fn a_long_key_is_cut_between_two_letters() {
        assert_eq!(noted(&[b'a'; 300]).unwrap().len(), 128);
        let text = format!("a{}", "é".repeat(100));
        assert_eq!(noted(text.as_bytes()).unwrap().len(), 127);
    }
}
