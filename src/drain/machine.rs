//! The phases as a table: which event leads from where to where.

use crate::session::Phase;

/// What moves the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Everything that serves is there.
    Ready,
    /// Somebody wants the process to go.
    Trigger,
    /// New sessions have stopped coming, or have had long enough.
    ArrivalsEnded,
    /// Sessions have had their time to finish by themselves.
    TimeToClose,
    /// Nothing is open any more, or the deadline has come.
    Over,
    /// Somebody wants it to stay after all.
    Cancel,
}

/// An event that has no place in a phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{event:?} has no place in phase {phase}")]
pub struct NoSuchStep {
    /// The phase it came in.
    pub phase: Phase,
    /// What came.
    pub event: Event,
}

/// The phase after `event`.
///
/// # Errors
/// When the event has no place in that phase: a cancel from `closing` on, for one.
pub fn next(phase: Phase, event: Event) -> Result<Phase, NoSuchStep> {
    match (phase, event) {
        (Phase::Starting, Event::Ready) => Ok(Phase::Serving),
        (Phase::Starting, Event::Trigger) => Ok(Phase::Drained),
        (Phase::Serving, Event::Trigger) => Ok(Phase::LameDuck),
        (Phase::LameDuck, Event::ArrivalsEnded) => Ok(Phase::Draining),
        (Phase::Draining, Event::TimeToClose) => Ok(Phase::Closing),
        (Phase::LameDuck | Phase::Draining | Phase::Closing, Event::Over) => Ok(Phase::Drained),
        (Phase::LameDuck | Phase::Draining | Phase::Drained, Event::Cancel) => Ok(Phase::Serving),
        _ => Err(NoSuchStep { phase, event }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [Event; 6] = [
        Event::Ready,
        Event::Trigger,
        Event::ArrivalsEnded,
        Event::TimeToClose,
        Event::Over,
        Event::Cancel,
    ];

    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for phase in Phase::ALL {
            for event in EVENTS {
                if let Ok(to) = next(*phase, event) {
                    table.push_str(&format!("{phase} + {event:?} = {to}\n"));
                }
            }
        }
        assert_eq!(
            table,
            "starting + Ready = serving\n\
             starting + Trigger = drained\n\
             serving + Trigger = lame_duck\n\
             lame_duck + ArrivalsEnded = draining\n\
             lame_duck + Over = drained\n\
             lame_duck + Cancel = serving\n\
             draining + TimeToClose = closing\n\
             draining + Over = drained\n\
             draining + Cancel = serving\n\
             closing + Over = drained\n\
             drained + Cancel = serving\n"
        );
    }
}
