//! How many of a worker's sessions may take their leave now.
//!
//! The drain asks at an even rate. But a session that was asked goes at a moment of its own, and
//! moments come together: many fall silent at once, or are answered at once. So each ask pays for
//! one to go, and a little more comes with time, as those that still wait need it. Who finds no
//! leave at its good moment waits for its next one; who has waited for half of its time needs none.

use super::traffic::Micros;

/// Asks are smoothed over so many seconds.
const SMOOTH: f64 = 1.0;
/// What comes with time, as a part of the rate of asking.
const SURPLUS: f64 = 0.5;
/// The least that comes in a second, so that the last ones need not wait for their time.
const LEAST: f64 = 10.0;
/// So many may go at once.
const BURST: f64 = 2.0;
/// Or as many as come in so many seconds: the drain asks in ticks.
const TICKS: f64 = 0.030;
/// Seconds below which less time makes nobody more urgent.
const URGENT: f64 = 0.100;

/// Leave to go, in sessions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    there: f64,
    /// Asked since time was last noted, and not paid for yet.
    asked: u32,
    /// Sessions asked in a second.
    asking: f64,
    /// What a second adds beside.
    growing: f64,
    noted: Micros,
}

impl Allowance {
    /// One more was asked to go, and looks for its moment.
    pub(super) fn ask(&mut self) {
        self.asked = self.asked.saturating_add(1);
    }

    /// Time has passed. `urgency` is the sum over those that wait of [`urgency_of`].
    pub(super) fn pass(&mut self, now: Micros, urgency: f64) {
        let seconds = now.since(self.noted) as f64 / 1e6;
        if seconds <= 0.0 {
            return;
        }
        self.noted = now;
        let asked = f64::from(std::mem::take(&mut self.asked));
        self.asking += (asked / seconds - self.asking) * (seconds / SMOOTH).min(1.0);
        self.growing = urgency.max(self.asking * SURPLUS).max(LEAST);
        self.there = (self.there + asked + self.growing * seconds).min(self.most());
    }

    fn most(&self) -> f64 {
        BURST.max(self.asking.max(self.growing) * TICKS)
    }

    /// Whether one may go.
    pub(super) fn is_there(&self) -> bool {
        self.there >= 1.0
    }

    /// One has gone, with leave or without.
    pub(super) fn take(&mut self) {
        self.there = (self.there - 1.0).max(-self.most());
    }
}

/// The rate at which one that needs no leave any more from `end` on has to be let go: per second.
pub(super) fn urgency_of(end: Micros, now: Micros) -> f64 {
    1.0 / (end.since(now) as f64 / 1e6).max(URGENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that is asked at `asked`, and is quiet from `ready` on; it needs no leave from `late` on.
    /// In milliseconds.
    #[derive(Clone, Copy)]
    struct One {
        asked: u64,
        ready: u64,
        late: u64,
    }

    const LOOK: u64 = 5;

    /// When each goes, in milliseconds.
    fn run(sessions: &[One], until: u64) -> Vec<u64> {
        let mut allowance = Allowance::default();
        let (mut waiting, mut gone, mut urgency) = (Vec::new(), Vec::new(), 0.0);
        for now in (0..=until / LOOK).map(|look| look * LOOK) {
            for one in sessions.iter().filter(|one| one.asked == now) {
                allowance.ask();
                waiting.push(*one);
            }
            allowance.pass(Micros(now * 1_000), urgency);
            urgency = 0.0;
            waiting.retain(|one| {
                let is_moment = now >= one.ready;
                let goes = is_moment && (allowance.is_there() || now >= one.late);
                if goes {
                    allowance.take();
                    gone.push(now);
                } else {
                    urgency += urgency_of(Micros(one.late * 1_000), Micros(now * 1_000));
                }
                !goes
            });
        }
        gone
    }

    fn most_in_100_ms(gone: &[u64]) -> usize {
        let in_slice = |start: u64| {
            gone.iter()
                .filter(move |at| (start..start + 100).contains(*at))
        };
        gone.iter().map(|at| in_slice(*at).count()).max().unwrap()
    }

    /// So many, asked evenly in ticks of 20 ms, over so many seconds.
    fn evenly(count: u64, seconds: u64) -> impl Iterator<Item = u64> {
        (0..count).map(move |n| n * seconds * 1_000 / count / 20 * 20)
    }

    #[test]
    fn one_that_is_quiet_goes_at_once() {
        let one = One {
            asked: 1_000,
            ready: 0,
            late: 9_000,
        };
        assert_eq!(run(&[one], 2_000), [1_000]);
    }

    #[test]
    fn who_is_quiet_goes_when_asked() {
        for (count, seconds) in [(20, 10), (400, 20), (4_000, 25)] {
            let quiet = evenly(count, seconds).map(|asked| One {
                asked,
                ready: 0,
                late: asked + 5_000,
            });
            let quiet: Vec<_> = quiet.collect();
            let gone = run(&quiet, 40_000);
            let asked = quiet.iter().map(|one| one.asked);
            let waited = asked.zip(&gone).map(|(asked, gone)| gone - asked).max();
            assert_eq!(gone.len(), quiet.len());
            assert!(waited <= Some(400), "{waited:?}");
        }
    }

    #[test]
    fn those_that_fall_silent_together_go_one_by_one() {
        // 30 in a second are asked for ten seconds, and speak without pause for the first five.
        let together: Vec<_> = evenly(300, 10)
            .map(|asked| One {
                asked,
                ready: 5_000,
                late: asked + 10_000,
            })
            .collect();
        let gone = run(&together, 30_000);
        assert_eq!(gone.len(), 300);
        // A mean of 3 in 100 ms.
        let most = most_in_100_ms(&gone);
        assert!(most <= 9, "{most}");
        assert!(gone.last() <= Some(&17_500), "and they catch up: {gone:?}");
    }

    #[test]
    fn nobody_waits_longer_than_it_may() {
        // A thousand that are asked at once, with a second for half of their time.
        let crowd = vec![
            One {
                asked: 0,
                ready: 0,
                late: 1_000,
            };
            1_000
        ];
        let gone = run(&crowd, 2_000);
        assert_eq!(gone.len(), 1_000);
        assert!(gone.last() <= Some(&1_000));
        let most = most_in_100_ms(&gone);
        assert!(most <= 350, "{most}");
    }
}
