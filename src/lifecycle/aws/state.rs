//! The states of an instance in its group. Unknown ones come up from time to time: what is not
//! known by its beginning means nothing to us.

use std::fmt;

/// The state that an instance is in, as DescribeAutoScalingInstances says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State(String);

impl State {
    pub(super) fn of(text: &str) -> State {
        State(text.to_owned())
    }

    /// Whether the group is getting rid of the instance.
    pub(super) fn is_leaving(&self) -> bool {
        self.0.starts_with("Terminat")
    }

    /// Whether the hooks of a termination run, or will. They do so on the way back into a warm pool
    /// too.
    pub(super) fn runs_hooks(&self) -> bool {
        let is_warm = ["Warmed:Pending", "Warmed:Terminat"];
        self.is_leaving() || is_warm.iter().any(|word| self.0.starts_with(word))
    }

    /// Whether the group waits for these hooks now.
    pub(super) fn waits_for_hooks(&self) -> bool {
        self.runs_hooks() && self.0.ends_with(":Wait")
    }

    /// Whether its hooks have all run.
    pub(super) fn is_through(&self) -> bool {
        self.0.ends_with(":Proceed") || self.0.ends_with("Terminated")
    }

    /// Whether it is a full member: the only state that can be protected from a scale-in.
    pub(super) fn is_in_service(&self) -> bool {
        self.0 == "InService"
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the metadata service says of where the instance is going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Stays,
    Leaves,
    /// A word that is new.
    Unknown,
}

impl Target {
    pub(super) fn of(text: &str) -> Target {
        const LEAVING: [&str; 4] = ["Terminat", "Standby", "Detach", "Warmed:"];
        if text.starts_with("InService") {
            Target::Stays
        } else if LEAVING.iter().any(|word| text.starts_with(word)) {
            Target::Leaves
        } else {
            Target::Unknown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_known_by_their_beginning() {
        for (text, leaving, waits) in [
            ("Pending:Wait", false, false),
            ("InService", false, false),
            ("Terminating", true, false),
            ("Terminating:Wait", true, true),
            ("Terminating:Proceed", true, false),
            ("Terminating:Retained", true, false),
            ("Terminated", true, false),
            ("Warmed:Pending:Wait", false, true),
            ("Warmed:Stopped", false, false),
            ("EnteringStandby", false, false),
            ("SomethingNew:Wait", false, false),
            ("", false, false),
        ] {
            let state = State::of(text);
            assert_eq!(
                (state.is_leaving(), state.waits_for_hooks()),
                (leaving, waits),
                "{text}"
            );
        }
    }

    #[test]
    fn targets_too() {
        for (text, target) in [
            ("InService", Target::Stays),
            ("Terminated", Target::Leaves),
            ("Detached", Target::Leaves),
            ("Standby", Target::Leaves),
            ("Warmed:Hibernated", Target::Leaves),
            ("Warmed:SomethingNew", Target::Leaves),
            ("SomethingNew", Target::Unknown),
            ("", Target::Unknown),
        ] {
            assert_eq!(Target::of(text), target, "{text}");
        }
    }
}
