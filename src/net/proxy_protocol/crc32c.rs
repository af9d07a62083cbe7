//! The checksum of headers of version 2: CRC32c (RFC 9260 appendix A).

/// The polynomial, reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte: u32 = 0;
    while byte < 256 {
        let mut value = byte;
        let mut bit = 0;
        while bit < 8 {
            let odd = value & 1 == 1;
            value >>= 1;
            if odd {
                value ^= POLYNOMIAL;
            }
            bit += 1;
        }
        table[byte as usize] = value;
        byte += 1;
    }
    table
};

/// A checksum under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crc32c(u32);

impl Crc32c {
    pub(super) const fn new() -> Crc32c {
        Crc32c(u32::MAX)
    }

    /// The checksum with these bytes too.
    pub(super) fn with(self, bytes: &[u8]) -> Crc32c {
        let step =
            |crc: u32, byte: &u8| TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ (crc >> 8);
        Crc32c(bytes.iter().fold(self.0, step))
    }

    /// The checksum of all bytes so far.
    pub(super) fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksums_of_the_rfcs_come_out() {
        // RFC 3720 B.4, and the usual check value.
        for (bytes, value) in [
            (&b"123456789"[..], 0xe306_9283),
            (&[0; 32], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (b"", 0),
        ] {
            assert_eq!(Crc32c::new().with(bytes).value(), value);
            let (a, b) = bytes.split_at(bytes.len() / 3);
            assert_eq!(Crc32c::new().with(a).with(b).value(), value);
        }
    }
}
