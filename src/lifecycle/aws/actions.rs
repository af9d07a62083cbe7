//! Lifecycle actions of the own instance: each is completed once, whichever way it was heard of.

use tokio::time::Instant;

use super::message::Notice;

/// A lifecycle action: a hook that the group runs, and waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Action {
    pub(super) id: usize,
    pub(super) hook: String,
    pub(super) group: String,
    /// As a message said it; without one the instance's id is as good.
    pub(super) token: Option<String>,
    /// When it was heard of.
    pub(super) since: Instant,
    is_done: bool,
    /// It belongs to an earlier way out, from which the instance came back.
    is_past: bool,
}

/// All that were heard of.
#[derive(Clone, Debug, Default)]
pub(super) struct Actions(Vec<Action>);

impl Actions {
    /// Takes what a message says; false if it says nothing new.
    pub(super) fn heard(&mut self, notice: &Notice, now: Instant) -> bool {
        let known = |action: &Action| notice.token.is_some() && action.token == notice.token;
        if self.0.iter().any(known) {
            return false;
        }
        // The hook may have been seen waiting before its message arrived.
        let seen = |action: &&mut Action| {
            !action.is_past && action.hook == notice.hook && action.token.is_none()
        };
        if let Some(action) = self.0.iter_mut().find(seen) {
            action.token.clone_from(&notice.token);
            return !action.is_done;
        }
        self.add(&notice.hook, &notice.group, notice.token.clone(), now);
        true
    }

    /// Takes what a message says of a hook that somebody else completes; false if it says nothing
    /// new.
    pub(super) fn overheard(&mut self, notice: &Notice, now: Instant) -> bool {
        let is_news = self.heard(notice, now);
        let same = |action: &Action| action.hook == notice.hook;
        self.0
            .iter_mut()
            .filter(|action| same(action))
            .for_each(|action| action.is_done = true);
        is_news
    }

    /// The group was seen waiting for this hook.
    pub(super) fn waits(&mut self, hook: &str, group: &str, now: Instant) {
        let known = |action: &Action| !action.is_past && action.hook == hook;
        if !self.0.iter().any(known) {
            self.add(hook, group, None, now);
        }
    }

    fn add(&mut self, hook: &str, group: &str, token: Option<String>, now: Instant) {
        self.0.push(Action {
            id: self.0.len(),
            hook: hook.to_owned(),
            group: group.to_owned(),
            token,
            since: now,
            is_done: false,
            is_past: false,
        });
    }

    /// The instance is back from its way out, if it was on one. What a message said may be ahead of
    /// what was seen, and stays.
    pub(super) fn past(&mut self) {
        for action in &mut self.0 {
            action.is_past |= action.is_done || action.token.is_none();
        }
    }

    /// Those that the group waits for.
    pub(super) fn open(&self) -> impl Iterator<Item = &Action> {
        self.0
            .iter()
            .filter(|action| !action.is_done && !action.is_past)
    }

    /// The group does not wait for it any more.
    pub(super) fn done(&mut self, id: usize) {
        if let Some(action) = self.0.get_mut(id) {
            action.is_done = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(token: &str) -> Notice {
        Notice {
            instance: "i-1".to_owned(),
            group: "bots".to_owned(),
            hook: "drain".to_owned(),
            token: Some(token.to_owned()),
        }
    }

    fn open(actions: &Actions) -> Vec<Option<&str>> {
        actions
            .open()
            .map(|action| action.token.as_deref())
            .collect()
    }

    #[test]
    fn one_that_is_seen_and_heard_of_is_one() {
        let now = Instant::now();
        for seen_first in [true, false] {
            let mut actions = Actions::default();
            if seen_first {
                actions.waits("drain", "bots", now);
            }
            assert!(actions.heard(&notice("t"), now));
            actions.waits("drain", "bots", now);
            assert!(!actions.heard(&notice("t"), now), "twice");
            assert_eq!(open(&actions), [Some("t")]);
        }
    }

    #[test]
    fn what_is_done_is_not_done_again() {
        let now = Instant::now();
        let mut actions = Actions::default();
        actions.waits("drain", "bots", now);
        actions.done(0);
        // A group says for a while that it waits, and a message may be late.
        actions.waits("drain", "bots", now);
        assert!(!actions.heard(&notice("t"), now));
        assert!(!actions.heard(&notice("t"), now));
        assert_eq!(open(&actions), [None; 0]);
    }

    #[test]
    fn what_somebody_else_completes_is_not_ours_to_do() {
        let mut actions = Actions::default();
        assert!(actions.overheard(&notice("t"), Instant::now()));
        assert!(!actions.overheard(&notice("t"), Instant::now()));
        assert_eq!(open(&actions), [None; 0]);
    }

    #[test]
    fn who_came_back_may_leave_again() {
        let now = Instant::now();
        let mut actions = Actions::default();
        actions.heard(&notice("t"), now);
        actions.done(0);
        actions.past();
        assert!(!actions.heard(&notice("t"), now), "an old message");
        actions.waits("drain", "bots", now);
        assert_eq!(open(&actions), [None]);
        actions.past();
        assert_eq!(open(&actions), [None; 0]);
        assert!(actions.heard(&notice("u"), now));
        actions.past();
        assert_eq!(
            open(&actions),
            [Some("u")],
            "the message is ahead of the look"
        );
    }
}
