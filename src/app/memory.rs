//! Memory that many sessions needed, given back to the system when they are gone.
//!
//! The allocator keeps what was freed for the next who asks, page by page between what is still in
//! use: after a wave of stalled sessions that is some kilobytes for each of them.

/// Fewer sessions than this leave nothing behind that is worth the work.
const FEW: u64 = 256;

/// Watches how many sessions there are.
#[derive(Debug, Default)]
pub(super) struct Memory {
    most: u64,
}

impl Memory {
    /// Whether most of those that were open are gone, since the last time that this was so.
    fn has_ebbed(&mut self, open: u64) -> bool {
        self.most = self.most.max(open);
        let ebbed = self.most >= FEW && open < self.most / 2;
        if ebbed {
            self.most = open;
        }
        ebbed
    }

    /// Gives memory back if most of the sessions are gone. To be called a few times a second, and not
    /// on a worker: it takes some milliseconds.
    pub(super) fn look(&mut self, open: u64) {
        if self.has_ebbed(open) && trim() {
            tracing::debug!(open, "memory given back");
        }
    }
}

/// Gives free pages back; true if there were any.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "the allocator has no other door")]
fn trim() -> bool {
    // SAFETY: takes no pointer, and locks what it touches of the allocator by itself.
    unsafe { libc::malloc_trim(0) == 1 }
}

/// Other allocators give back by themselves, or cannot.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wave_is_noticed_once_when_most_of_it_is_gone() {
        let mut memory = Memory::default();
        for (open, ebbed) in [
            (100, false),
            (10, false),
            (4_000, false),
            (2_000, false),
            (1_999, true),
            (1_000, false),
            (998, true),
            (200, true),
            (0, false),
        ] {
            assert_eq!(memory.has_ebbed(open), ebbed, "{open}");
        }
    }

    #[test]
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn pages_that_were_freed_go_back() {
        let resident = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        // Small pieces, of which every 64th stays: no end of the heap is free.
        let mut pieces: Vec<_> = (0..64 * 1024)
            .map(|_| Some(Box::new([1_u8; 1024])))
            .collect();
        for (at, piece) in pieces.iter_mut().enumerate() {
            if at % 64 != 0 {
                piece.take();
            }
        }
        let before = resident();
        assert!(trim());
        let after = resident();
        assert!(after + (16 << 20) < before, "{before} {after}");
    }
}
