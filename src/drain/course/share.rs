//! The drain of a share of the sessions.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::session::{Facts, Phase};

use super::{Broken, Course};
use crate::drain::closing::TICK;
use crate::drain::control::{Answer, Reply};
use crate::drain::run::{Drain, ticks};
use crate::drain::schedule::choose;

/// How often who is left is looked for.
const COUNT: Duration = Duration::from_millis(250);

impl Drain {
    /// The way of a share: some are chosen, and asked to go, while everybody else is served.
    pub(super) async fn leave_of_share(
        &mut self,
        course: &mut Course,
        share: f64,
        reply: Reply,
    ) -> Result<(), Broken> {
        let part = course.request.part;
        let chosen = choose(self.workers.facts().await, share);
        course.notes.choose(&chosen);
        let ids: HashSet<_> = chosen.iter().map(|facts| facts.id).collect();
        course.chosen = Some(Arc::new(ids));
        self.publish(part, Phase::Closing, Some(course.view()));
        let _ = reply.send(Ok(Answer::Started(self.view())));
        let went = self.ask_chosen(course).await;
        if went.is_err() {
            self.publish(part, Phase::Serving, None);
        }
        went
    }

    async fn ask_chosen(&mut self, course: &mut Course) -> Result<(), Broken> {
        let mut closing = self.closing(course);
        let mut left = course.chosen.clone().unwrap_or_default();
        let mut ticks = ticks(TICK);
        let mut counted = Instant::now();
        loop {
            let over = Instant::now() >= course.deadline.at();
            if left.is_empty() || course.cut_now || over {
                return Ok(());
            }
            tokio::select! {
                _ = ticks.tick() => {}
                wish = self.wishes.recv() => if self.hear(wish, course)? {
                    closing.shorten(Instant::now(), course.deadline);
                },
            }
            if counted.elapsed() >= COUNT {
                counted = Instant::now();
                let mut there = HashSet::new();
                let look = |facts: Facts| {
                    if left.contains(&facts.id) {
                        there.insert(facts.id);
                    }
                };
                self.workers.each(look).await;
                left = Arc::new(there);
            }
            closing
                .tick(&self.workers, &self.witness, |facts| {
                    left.contains(&facts.id)
                })
                .await;
        }
    }
}
