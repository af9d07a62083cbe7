//! Small pieces are written as one: a copy of a few hundred bytes costs less than a vectored write.

use std::io::IoSlice;

use tokio::io::ReadBuf;

/// The most that is copied.
pub(super) const MOST: usize = 1024;

/// What is to be written instead of the pieces.
pub(super) enum Gathered<'b> {
    /// These bytes: the only piece there is, or a copy of all.
    One(&'b [u8]),
    /// The pieces as they are: they are too large to be copied.
    Many,
}

/// Puts pieces together in `room`, where that pays.
pub(super) fn gather<'b>(pieces: &'b [IoSlice<'_>], room: &'b mut ReadBuf<'_>) -> Gathered<'b> {
    if let [one] = pieces {
        return Gathered::One(one);
    }
    for piece in pieces {
        if piece.len() > room.remaining() {
            return Gathered::Many;
        }
        room.put_slice(piece);
    }
    Gathered::One(room.filled())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(pieces: &[&[u8]]) -> Option<Vec<u8>> {
        let pieces: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        match gather(&pieces, &mut ReadBuf::new(&mut [0; MOST])) {
            Gathered::One(bytes) => Some(bytes.to_vec()),
            Gathered::Many => None,
        }
    }

    #[test]
    fn small_pieces_are_one_in_their_order() {
        assert_eq!(gathered(&[]), Some(vec![]));
        assert_eq!(
            gathered(&[b"head", b"", b"body"]),
            Some(b"headbody".to_vec())
        );
        let half = [1; MOST / 2];
        assert_eq!(gathered(&[&half, &half]), Some(vec![1; MOST]));
    }

    #[test]
    fn a_large_piece_is_not_copied_with_others() {
        let large = [1; MOST];
        assert_eq!(gathered(&[b"head", &large]), None);
        assert_eq!(gathered(&[&large]), Some(large.to_vec()));
    }
}
