//! Where progress is shown: rewritten in place on a terminal, line by line elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::Progress;

/// How often a screen is rewritten when nothing has come.
const REWRITE: Duration = Duration::from_millis(250);
/// How often a line is written.
const LINE: Duration = Duration::from_secs(1);

/// A place where progress is shown.
pub(crate) struct Display<W> {
    out: W,
    shown: Shown,
}

enum Shown {
    /// So many lines, to be written over.
    Screen(usize),
    /// The phase that was written last, and when.
    Lines(Option<(String, Instant)>),
}

impl<W: Write + IsTerminal> Display<W> {
    /// A display on this stream. A terminal that cannot move its cursor is none.
    pub(crate) fn on(out: W) -> Display<W> {
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        let shown = if out.is_terminal() && !dumb {
            Shown::Screen(0)
        } else {
            Shown::Lines(None)
        };
        Display { out, shown }
    }
}

impl<W: Write> Display<W> {
    /// How often it wants to be shown something, come what may.
    pub(crate) fn ticks(&self) -> Interval {
        let mut ticks = interval(match self.shown {
            Shown::Screen(_) => REWRITE,
            Shown::Lines(_) => LINE,
        });
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }

    /// Shows how it stands.
    ///
    /// # Errors
    /// When the stream takes no more.
    pub(crate) fn show(&mut self, progress: &mut Progress, now: Instant) -> io::Result<()> {
        match &mut self.shown {
            Shown::Screen(height) => {
                let lines = progress.screen(now);
                let mut text = up(*height);
                for line in &lines {
                    text += line;
                    text += "\n";
                }
                *height = lines.len();
                self.out.write_all(text.as_bytes())?;
            }
            Shown::Lines(last) => {
                let phase = &progress.status().phase;
                let due = last.as_ref().is_none_or(|(told, at)| {
                    told != phase || now.saturating_duration_since(*at) >= LINE
                });
                if !due {
                    return Ok(());
                }
                *last = Some((phase.clone(), now));
                writeln!(self.out, "{}", progress.line(now))?;
            }
        }
        self.out.flush()
    }
}

/// Moves to the first line of what was written, and clears from there (ECMA-48: CPL, ED).
fn up(height: usize) -> String {
    match height {
        0 => String::new(),
        _ => format!("\x1b[{height}F\x1b[J"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::progress::tests::status;

    #[test]
    fn a_screen_is_written_over_itself() {
        let now = Instant::now();
        let mut progress = Progress::new(status("closing", 1, 0), None, now);
        let mut display = Display {
            out: Vec::new(),
            shown: Shown::Screen(0),
        };
        display.show(&mut progress, now).unwrap();
        display.show(&mut progress, now).unwrap();
        let text = String::from_utf8(display.out).unwrap();
        assert_eq!(text.matches("\x1b[3F\x1b[J").count(), 1, "{text:?}");
        assert_eq!(text.matches("closing").count(), 2);
    }

    #[test]
    fn lines_come_once_a_second_and_at_each_phase() {
        let start = Instant::now();
        let mut progress = Progress::new(status("lame_duck", 1, 0), None, start);
        let mut display = Display {
            out: Vec::new(),
            shown: Shown::Lines(None),
        };
        for millis in [0, 100, 999, 1000, 1100] {
            display
                .show(&mut progress, start + Duration::from_millis(millis))
                .unwrap();
        }
        let now = start + Duration::from_millis(1200);
        progress.update(status("closing", 1, 0), now);
        display.show(&mut progress, now).unwrap();
        let text = String::from_utf8(display.out).unwrap();
        let phases: Vec<_> = text
            .lines()
            .filter_map(|line| line.split(':').next())
            .collect();
        assert_eq!(phases, ["lame_duck", "lame_duck", "closing"]);
        assert!(!text.contains('\x1b'));
    }
}
