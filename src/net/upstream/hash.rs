//! A hash that is the same in every replica and every version.

use std::net::IpAddr;

/// What a session is hashed on; none where the endpoint does not depend on the client.
pub type Key = Option<u64>;

/// FNV-1a of 64 bits, mixed so that every bit of it counts (the finalizer of splitmix64).
pub fn hash_of(bytes: &[u8]) -> u64 {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    mixed(bytes.iter().fold(BASIS, fold))
}

/// The hash of a client's address, without its port.
pub fn hash_of_address(client: IpAddr) -> u64 {
    match client {
        IpAddr::V4(addr) => hash_of(&addr.octets()),
        IpAddr::V6(addr) => hash_of(&addr.octets()),
    }
}

/// Each bit of the result depends on each of the argument.
pub(super) fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_it_was() {
        // A replica of another version has to choose the same.
        assert_eq!(hash_of(b""), 0xf52a15e9a9b5e89b);
        assert_eq!(hash_of(b"user-1"), hash_of(b"user-1"));
        assert_ne!(hash_of(b"user-1"), hash_of(b"user-2"));
    }
}
