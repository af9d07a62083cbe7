//! A busy worker's heap in huge pages.
//!
//! What a worker of many HTTP connections touches for each request lies on more pages than a processor
//! has addresses for at hand. In pages of 2 MiB it does not. Once a worker has connections enough, a thread of its
//! own puts what its heap has become into such, by and by; a worker with few, or with none but relayed ones, is
//! left alone. The kernel is not asked to make what is new of huge pages: whoever touches one first would wait
//! until all of it is cleared, which is milliseconds where a hypervisor has yet to find the memory for it. What
//! cannot be had is done without; nothing depends on it.

use std::hint::black_box;
use std::io::{BufRead as _, BufReader};
use std::ops::Range;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// So many HTTP connections at once make a busy worker, ...
const BUSY: usize = 24;
/// ... if each has been there for so long: those that only come to become WebSockets have not.
const LASTING: Duration = Duration::from_millis(100);
/// A huge page.
const HUGE: usize = 2 << 20;
/// A piece that the allocator takes from the worker's own heap: more than it keeps at hand for any thread,
/// and less than it asks the system for alone.
const PIECE: usize = 96 << 10;
/// Between two looks at a heap that has not grown by a page.
const REST: Duration = Duration::from_secs(1);
/// Behind each page, so many times what it took: it keeps a core meanwhile, in a call that nobody interrupts, and
/// of a hundred questions that cross that core, twice each, less than one is to wait.
const PAUSES: u32 = 500;

/// Whether a worker's heap is put into huge pages.
#[derive(Debug, Default)]
pub(super) struct HugePages {
    asked: bool,
}

impl HugePages {
    /// Has it done from now on, if enough connections have been there for a while; `lasting` tells how many. To
    /// be called on the worker's thread, whose heap it is.
    pub(super) fn look(&mut self, lasting: impl FnOnce(Duration) -> usize) {
        if self.asked {
            return;
        }
        let connections = lasting(LASTING);
        if connections >= BUSY {
            self.asked = true;
            match begin() {
                Ok(()) => tracing::debug!(connections, "heap in huge pages"),
                Err(error) => tracing::debug!(connections, %error, "no huge pages"),
            }
        }
    }
}

/// Begins the thread that does it for this one's heap.
fn begin() -> io::Result<()> {
    let piece = black_box(Vec::<u8>::with_capacity(PIECE));
    let inside = piece.as_ptr().addr();
    Heap::around(inside)?;
    let thread = thread::Builder::new().name("lameduck-pages".to_owned());
    thread.spawn(move || follow(inside))?;
    Ok(())
}

/// Puts a heap into huge pages as it grows, until it is no more.
#[allow(
    clippy::disallowed_methods,
    reason = "a thread of its own, and no worker's"
)]
fn follow(inside: usize) {
    let mut next = 0;
    while let Ok(heap) = Heap::around(inside) {
        let full = heap.full();
        // What was given back and is there again consists of small ones.
        next = next.clamp(full.start, full.end);
        if next == full.end {
            thread::sleep(REST);
            continue;
        }
        let begun = Instant::now();
        // What is given back at this moment is passed over, or is somebody else's, who does not notice.
        if let Err(error) = collapse(&(next..next + HUGE)) {
            tracing::debug!(%error, "a huge page less");
        }
        next += HUGE;
        thread::sleep(begun.elapsed() * PAUSES);
    }
}

/// What of a heap can be used.
#[derive(Debug)]
struct Heap(Range<usize>);

impl Heap {
    /// The heap that an address lies in (`proc_pid_maps(5)`).
    fn around(inside: usize) -> io::Result<Heap> {
        let maps = BufReader::new(fs::File::open("/proc/self/maps")?);
        for line in maps.lines() {
            let line = line?;
            let found = mapping(&line).filter(|(range, _)| range.contains(&inside));
            if let Some((range, access)) = found {
                if access.starts_with("rw-p") {
                    return Ok(Heap(range));
                }
                break;
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// The part that is whole huge pages.
    fn full(&self) -> Range<usize> {
        let start = self.0.start.next_multiple_of(HUGE);
        start..(self.0.end / HUGE * HUGE).max(start)
    }
}

/// Where a mapping lies, and the rest of its line.
fn mapping(line: &str) -> Option<(Range<usize>, &str)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some((number(start)?..number(end)?, rest))
}

/// Puts a part of the memory, which is one huge page long, into one (`madvise(2)`).
#[allow(unsafe_code, reason = "rustix has no name for collapsing")]
fn collapse(part: &Range<usize>) -> io::Result<()> {
    let start = std::ptr::without_provenance_mut(part.start);
    // SAFETY: contents and addresses stay as they are, whosever they are.
    match unsafe { libc::madvise(start, part.len(), libc::MADV_COLLAPSE) } {
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

    #[test]
    fn whole_huge_pages_are_found() {
        let full = |used| Heap(used).full();
        assert_eq!(full(HUGE..3 * HUGE + 5), HUGE..3 * HUGE);
        assert_eq!(full(HUGE + 5..3 * HUGE + 5), 2 * HUGE..3 * HUGE);
        assert_eq!(full(HUGE + 5..2 * HUGE - 5), 2 * HUGE..2 * HUGE);
    }

    /// On a thread of its own, as a worker is: its heap is not the process's first.
    #[test]
    fn a_busy_workers_heap_is_put_together_as_it_grows_and_loses_nothing() {
        let worker = thread::spawn(|| {
            let mut held: Vec<Vec<usize>> = Vec::new();
            let mut pages = HugePages::default();
            pages.look(|_| BUSY - 1);
            assert!(!pages.asked);
            pages.look(|_| BUSY);
            assert!(pages.asked);
            pages.look(|_| unreachable!("it has asked"));
            // It grows behind the look.
            held.extend((0..4_000).map(|n| vec![n; 256]));
            let heap = Heap::around(held[1_000].as_ptr().addr()).unwrap();
            let first = heap.full().start;
            if let Err(error) = collapse(&(first..first + HUGE)) {
                println!("left out: this system puts no pages together: {error}");
                return;
            }
            let begun = Instant::now();
            while huge_of(heap.0.start) < 2 * (HUGE >> 10) {
                assert!(begun.elapsed() < Duration::from_secs(30), "{heap:?}");
                thread::park_timeout(Duration::from_millis(20));
            }
            for (n, piece) in held.iter().enumerate() {
                assert!(piece.iter().all(|kept| *kept == n));
            }
        });
        worker.join().unwrap();
    }

    /// So many KiB of the mapping that begins there are in huge pages (`proc_pid_smaps(5)`).
    fn huge_of(start: usize) -> usize {
        let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = smaps.lines();
        lines.find(|line| mapping(line).is_some_and(|(range, _)| range.start == start));
        let huge = lines.find_map(|line| line.strip_prefix("AnonHugePages:"));
        huge.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse()
            .unwrap()
    }
}
