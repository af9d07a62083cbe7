//! What messages and bodies are made of: bytes of which no two places are alike.

/// The bytes of a message.
pub(crate) const PAYLOAD: usize = 64;

/// The contents of a session's message: no two are alike.
pub(crate) fn payload(session: usize, message: u64) -> [u8; PAYLOAD] {
    let mut bytes = [0; PAYLOAD];
    for (place, chunk) in bytes.chunks_mut(8).enumerate() {
        let word = (message << 20) ^ ((session as u64) << 3) ^ place as u64;
        chunk.copy_from_slice(&mixed(word));
    }
    bytes
}

/// So many bytes of a body or a stream.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len.div_ceil(8) as u64).flat_map(mixed).collect();
    bytes.truncate(len);
    bytes
}

fn mixed(word: u64) -> [u8; 8] {
    let mixed = word.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).to_le_bytes()
}
