//! The Close frame that the relay puts into a stream (RFC 6455 5.5.1).

#[cfg(test)]
mod tests;

/// FIN and the opcode of a Close.
const FIN_CLOSE: u8 = 0x88;
const MASKED: u8 = 0x80;
/// A control frame's payload has at most 125 bytes, and the code takes two of them (RFC 6455 5.5).
const REASON_MAX: usize = 123;

/// The code of a whole Close frame; none if it has none.
pub(super) fn close_code(frame: &[u8], masked: bool) -> Option<u16> {
    let (_, payload) = frame.split_first_chunk::<2>()?;
    let (key, payload) = match masked {
        true => payload
            .split_first_chunk::<4>()
            .map(|(key, rest)| (*key, rest))?,
        false => ([0; 4], payload),
    };
    let [high, low] = *payload.first_chunk::<2>()?;
    Some(u16::from_be_bytes([high ^ key[0], low ^ key[1]]))
}

/// Appends one Close frame with `code` and `reason` to `out`: masked with `mask` when it goes to an
/// agent, unmasked (`None`) when it goes to a client.
///
/// A reason of more than 123 bytes is cut in front of the first character that does not fit. At most
/// 131 bytes are appended.
pub fn close_frame(code: u16, reason: &str, mask: Option<[u8; 4]>, out: &mut Vec<u8>) {
    let reason = &reason[..reason.floor_char_boundary(REASON_MAX)];
    // At most 125, so it is a length of seven bits.
    let length = u8::try_from(2 + reason.len()).unwrap_or(125);
    let key = mask.unwrap_or_default();

    out.push(FIN_CLOSE);
    match mask {
        Some(key) => {
            out.push(MASKED | length);
            out.extend_from_slice(&key);
        }
        None => out.push(length),
    }
    // Without a mask the key is zero, which changes nothing (RFC 6455 5.3).
    let payload = code.to_be_bytes().into_iter().chain(reason.bytes());
    out.extend(
        payload
            .zip(key.into_iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
}
