//! A busy worker's heap in huge pages.
//!
//! What a worker of many HTTP connections touches for each request lies on more pages than a processor
//! has addresses for at hand. In pages of 2 MiB it does not, at the price of what of these is not used: so a
//! worker asks for them when it has connections enough, and one with few stays small. What cannot be had is
//! done without; nothing depends on it.

use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::time::Duration;
use std::{fs, io, thread};

/// So many HTTP connections at once make a busy worker, ...
const BUSY: usize = 24;
/// ... if each has been there for so long: those that only come to become WebSockets have not.
const LASTING: Duration = Duration::from_millis(100);
/// A huge page, and by how much a heap grows at once so that it is made of such.
const HUGE: usize = 2 << 20;
/// A piece that the allocator takes from the worker's own heap: more than it keeps at hand for any thread,
/// and less than it asks the system for alone.
const PIECE: usize = 96 << 10;

/// Whether a worker's heap was put into huge pages.
#[derive(Debug, Default)]
pub(super) struct HugePages {
    asked: bool,
}

impl HugePages {
    /// Asks for them, once, if enough connections have been there for a while; `lasting` tells how many. To be
    /// called on the worker's thread, whose heap it is.
    pub(super) fn look(&mut self, lasting: impl FnOnce(Duration) -> usize) {
        if self.asked {
            return;
        }
        let connections = lasting(LASTING);
        if connections >= BUSY {
            self.asked = true;
            match ask() {
                Ok(()) => tracing::debug!(connections, "heap in huge pages"),
                Err(error) => tracing::debug!(connections, %error, "no huge pages"),
            }
        }
    }
}

/// Has this thread's heap consist of huge pages from now on, and by and by what there is of it.
fn ask() -> io::Result<()> {
    grow_by_huge_pages();
    // As many as make sure that the heap has grown by that.
    let pieces: Vec<Vec<u8>> = (0..=HUGE / PIECE)
        .map(|_| black_box(Vec::with_capacity(PIECE)))
        .collect();
    let inside = pieces[0].as_ptr().addr();
    let heap = Heap::around(inside)?;
    advise(&heap.whole, libc::MADV_HUGEPAGE)?;
    let full = heap.used.start.next_multiple_of(HUGE)..heap.used.end / HUGE * HUGE;
    let thread = thread::Builder::new().name("lameduck-pages".to_owned());
    thread.spawn(move || collapse(full))?;
    Ok(())
}

/// Puts a part of the memory into huge pages. Each takes some milliseconds, and so it is nothing for a worker's
/// thread. What has been given back meanwhile is passed over, or is somebody else's, who does not notice.
fn collapse(part: Range<usize>) {
    for start in part.step_by(HUGE) {
        if let Err(error) = advise(&(start..start + HUGE), libc::MADV_COLLAPSE) {
            tracing::debug!(%error, "a huge page less");
        }
    }
}

/// Where a heap lies.
#[derive(Debug)]
struct Heap {
    /// What can be used of it.
    used: Range<usize>,
    /// With what it grows into.
    whole: Range<usize>,
}

impl Heap {
    /// The heap that an address lies in, and the reserve right behind it (`proc_pid_maps(5)`).
    fn around(inside: usize) -> io::Result<Heap> {
        let maps = BufReader::new(fs::File::open("/proc/self/maps")?);
        let mut found: Option<Range<usize>> = None;
        for line in maps.lines() {
            let line = line?;
            let Some((range, access)) = mapping(&line) else {
                continue;
            };
            match found {
                Some(used) if range.start == used.end && access.starts_with("---p") => {
                    let whole = used.start..range.end;
                    return Ok(Heap { used, whole });
                }
                Some(used) => {
                    let whole = used.clone();
                    return Ok(Heap { used, whole });
                }
                None if range.contains(&inside) && access.starts_with("rw-p") => {
                    found = Some(range);
                }
                None => {}
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Where a mapping lies, and the rest of its line.
fn mapping(line: &str) -> Option<(Range<usize>, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some((number(start)?..number(end)?, rest))
}

/// Has heaps grow by whole huge pages.
#[allow(unsafe_code, reason = "the allocator has no other door")]
fn grow_by_huge_pages() {
    let pad = libc::c_int::try_from(HUGE).unwrap_or_default();
    // SAFETY: takes no pointer, and sets one number of the allocator's.
    unsafe { libc::mallopt(libc::M_TOP_PAD, pad) };
}

/// Says how a part of the memory is to be kept (`madvise(2)`).
#[allow(unsafe_code, reason = "rustix has no name for collapsing")]
fn advise(part: &Range<usize>, how: libc::c_int) -> io::Result<()> {
    let start = std::ptr::without_provenance_mut(part.start);
    // SAFETY: both kinds of advice that are given here leave contents and addresses as they are.
    match unsafe { libc::madvise(start, part.len(), how) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_read() {
        let line = "7f1200000000-7f1200021000 rw-p 00000000 00:00 0 ";
        let (range, rest) = mapping(line).unwrap();
        assert_eq!(range, 0x7f12_0000_0000..0x7f12_0002_1000);
        assert!(rest.starts_with("rw-p"));
        assert!(mapping("no mapping").is_none());
    }

    /// On a thread of its own, as a worker is: its heap is not the process's first.
    #[test]
    fn a_busy_worker_asks_once_and_loses_nothing() {
        let worker = thread::spawn(|| {
            let held: Vec<Vec<usize>> = (0..2_000).map(|n| vec![n; 256]).collect();
            let mut pages = HugePages::default();
            pages.look(|_| BUSY - 1);
            assert!(!pages.asked);
            pages.look(|_| BUSY);
            assert!(pages.asked);
            pages.look(|_| unreachable!("it has asked"));
            let heap = Heap::around(held[1_000].as_ptr().addr()).unwrap();
            let advised = advice_of(heap.used.start);
            for (n, piece) in held.iter().enumerate() {
                assert!(piece.iter().all(|kept| *kept == n));
            }
            (heap, advised)
        });
        let (heap, advised) = worker.join().unwrap();
        assert!(
            heap.used.len() > 2_000 * 256 * size_of::<usize>() + HUGE / 2,
            "{heap:?}"
        );
        assert!(advised.contains("hg"), "{advised}");
    }

    /// The kernel's flags of the mapping that begins there (`proc_pid_smaps(5)`).
    fn advice_of(start: usize) -> String {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = smaps.lines();
        lines.find(|line| mapping(line).is_some_and(|(range, _)| range.start == start));
        let flags = lines.find_map(|line| line.strip_prefix("VmFlags:"));
        flags.unwrap().to_owned()
    }
}
