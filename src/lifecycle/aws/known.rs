//! What is known of the own instance, from whichever side it was heard.

use tokio::time::Instant;

use super::actions::{Action, Actions};
use super::autoscaling::{Hook, Member};
use super::message::Notice;
use super::state::State;

/// What is known of the own instance.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Its group: as configured, or as the API says.
    pub(super) group: Option<String>,
    /// The state it was in when last looked at.
    pub(super) state: Option<State>,
    /// Whether it is protected from a scale-in, as far as was seen or said.
    pub(super) is_protected: Option<bool>,
    /// The hooks that are ours to complete; none before the group was asked.
    pub(super) hooks: Option<Vec<Hook>>,
    pub(super) actions: Actions,
    /// Those named in the configuration.
    named: Vec<String>,
}

impl Known {
    pub(super) fn new(group: Option<String>, named: &[String]) -> Known {
        Known {
            group,
            named: named.to_vec(),
            ..Known::default()
        }
    }

    /// Takes what a look at the group has shown.
    pub(super) fn seen(&mut self, member: Option<Member>, now: Instant) {
        let Some(member) = member else {
            self.state = None;
            return;
        };
        if member.state.waits_for_hooks() {
            for hook in self.hook_names() {
                self.actions.waits(&hook, &member.group, now);
            }
        } else if member.state.is_in_service() {
            self.actions.past();
        }
        self.group.get_or_insert(member.group);
        self.state = Some(member.state);
        self.is_protected = Some(member.is_protected);
    }

    /// Takes what a message said; false if it is no news.
    pub(super) fn heard(&mut self, notice: &Notice, now: Instant) -> bool {
        let is_ours = self.named.is_empty() || self.named.contains(&notice.hook);
        self.group.get_or_insert_with(|| notice.group.clone());
        if is_ours {
            self.actions.heard(notice, now)
        } else {
            self.actions.overheard(notice, now)
        }
    }

    /// Takes the hooks that the group has. Several, of which none is named, may be anybody's: only
    /// those that a message comes for are ours then. Gives true if that is so.
    pub(super) fn has_hooks(&mut self, mut hooks: Vec<Hook>, now: Instant) -> bool {
        let several = self.named.is_empty() && hooks.len() > 1;
        if several {
            hooks.clear();
        }
        if !self.named.is_empty() {
            hooks.retain(|hook| self.named.contains(&hook.name));
        }
        self.hooks = Some(hooks);
        if let (Some(state), Some(group)) = (&self.state, self.group.clone())
            && state.waits_for_hooks()
        {
            for hook in self.hook_names() {
                self.actions.waits(&hook, &group, now);
            }
        }
        several
    }

    /// The names of the hooks that are ours: those in the configuration even if the group cannot be
    /// asked about them.
    fn hook_names(&self) -> Vec<String> {
        match &self.hooks {
            Some(hooks) => hooks.iter().map(|hook| hook.name.clone()).collect(),
            None => self.named.clone(),
        }
    }

    /// Whether a hook of ours is to be expected once the group is getting rid of the instance.
    pub(super) fn expects_hooks(&self) -> bool {
        self.group.is_some() && !self.hook_names().is_empty()
    }

    /// Whether the instance is on its way out, its hooks being run or still to come.
    pub(super) fn is_before_hooks(&self) -> bool {
        self.state
            .as_ref()
            .is_some_and(|state| state.runs_hooks() && !state.is_through())
    }

    /// What is known of the hook of an action.
    pub(super) fn hook_of(&self, action: &Action) -> Option<&Hook> {
        self.hooks
            .iter()
            .flatten()
            .find(|hook| hook.name == action.hook)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn hook(name: &str) -> Hook {
        Hook {
            name: name.to_owned(),
            heartbeat: Duration::from_secs(30),
            global: Duration::from_secs(3000),
        }
    }

    fn member(state: &str) -> Option<Member> {
        Some(Member {
            group: "bots".to_owned(),
            state: State::of(state),
            is_protected: false,
        })
    }

    fn open(known: &Known) -> Vec<&str> {
        known.actions.open().map(|action| &*action.hook).collect()
    }

    #[test]
    fn the_only_hook_of_a_group_is_ours() {
        let now = Instant::now();
        let mut known = Known::new(None, &[]);
        known.seen(member("Terminating:Wait"), now);
        assert_eq!(
            open(&known),
            [""; 0],
            "whose hooks they are is not known yet"
        );
        assert!(!known.has_hooks(vec![hook("drain")], now));
        assert_eq!(open(&known), ["drain"]);
        known.seen(member("Terminating:Wait"), now);
        assert_eq!(open(&known), ["drain"]);
    }

    #[test]
    fn of_several_those_that_are_named_are_ours() {
        let now = Instant::now();
        let all = || vec![hook("backup"), hook("drain")];
        let mut nobody = Known::new(None, &[]);
        assert!(nobody.has_hooks(all(), now));
        nobody.seen(member("Terminating:Wait"), now);
        assert_eq!(open(&nobody), [""; 0]);
        let mut named = Known::new(None, &["drain".to_owned()]);
        named.has_hooks(all(), now);
        named.seen(member("Terminating:Wait"), now);
        assert_eq!(open(&named), ["drain"]);
    }

    #[test]
    fn a_named_hook_is_expected_even_if_the_group_cannot_be_asked() {
        let mut known = Known::new(None, &["drain".to_owned()]);
        known.seen(member("Terminating:Wait"), Instant::now());
        assert!(known.expects_hooks());
        assert_eq!(open(&known), ["drain"]);
    }
}
