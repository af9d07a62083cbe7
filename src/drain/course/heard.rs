//! What is wished for while a drain is under way, and what that makes of it.

use tokio::time::Instant;

use crate::session::Part;

use super::{Broken, Course};
use crate::drain::control::{Answer, Refused, Reply, Request, Wish};
use crate::drain::machine::Event;
use crate::drain::run::Drain;

/// What a wish that came during a drain leads to.
enum Turn {
    GoOn,
    Shortened,
    Cancelled,
    GivesWay(Wish),
}

impl Drain {
    /// Hears a wish while a drain is under way; true if it is to be over sooner.
    pub(super) fn hear(&mut self, wish: Option<Wish>, course: &mut Course) -> Result<bool, Broken> {
        match self.turn(wish, course) {
            Turn::GoOn => Ok(false),
            Turn::Shortened => Ok(true),
            Turn::Cancelled => Err(Broken::Cancelled),
            Turn::GivesWay(wish) => Err(Broken::GivesWay(wish)),
        }
    }

    fn turn(&mut self, wish: Option<Wish>, course: &mut Course) -> Turn {
        let part = course.request.part;
        match wish {
            // What goes for everything goes before what goes for a part.
            Some(wish @ (Wish::CutNow | Wish::Start(Request { part: None, .. }, _)))
                if part.is_some() =>
            {
                Turn::GivesWay(wish)
            }
            None | Some(Wish::CutNow) => {
                course.cut_now = true;
                course.ends_the_process = true;
                Turn::Shortened
            }
            Some(Wish::Cancel(of, reply)) if is_same(of, part) => self.cancel(part, reply),
            Some(Wish::Cancel(_, reply)) => {
                let _ = reply.send(Err(Refused::NothingToCancel));
                Turn::GoOn
            }
            Some(Wish::Start(request, reply)) if request.part == part => {
                self.join(&request, reply, course)
            }
            Some(Wish::Start(_, reply)) => {
                let _ = reply.send(Err(Refused::Another));
                Turn::GoOn
            }
        }
    }

    fn cancel(&self, part: Option<Part>, reply: Reply) -> Turn {
        let is_share = matches!(part, Some(Part::Share(_)));
        if !is_share && self.step(part, Event::Cancel, None).is_err() {
            let _ = reply.send(Err(Refused::NothingToCancel));
            return Turn::GoOn;
        }
        let _ = reply.send(Ok(Answer::Cancelled(self.view())));
        Turn::Cancelled
    }

    /// Another trigger of the same drain: it can only shorten it.
    fn join(&self, request: &Request, reply: Reply, course: &mut Course) -> Turn {
        course.notes.sign(request, course.started.elapsed());
        let ends = request.trigger.ends_the_process() && !course.ends_the_process;
        let looks_away = request.looks_away && !course.looks_away;
        course.ends_the_process |= ends;
        course.looks_away |= looks_away;
        if ends || looks_away {
            self.show(course);
        }
        let window = request.window.unwrap_or(course.shortest);
        // The same window once more is no longer one, though it counts from a later moment: a
        // kubelet repeats its preStop, and means the drain that is under way.
        if window > course.shortest {
            let _ = reply.send(Err(Refused::Longer));
            return Turn::GoOn;
        }
        course.shortest = window;
        let wanted = self.deadline(Instant::now(), window);
        let sooner = wanted < course.deadline;
        if sooner {
            course.deadline = wanted;
            course.ends = course.ends.min(Instant::now() + window);
            self.show(course);
            tracing::info!(left = ?wanted.left(Instant::now()), "drain shortened");
        }
        let _ = reply.send(Ok(Answer::UnderWay(self.view())));
        if sooner { Turn::Shortened } else { Turn::GoOn }
    }

    /// Publishes what has changed of a drain within its phase.
    fn show(&self, course: &Course) {
        let (part, view) = (course.request.part, course.view());
        self.phase.send_modify(|now| match part {
            None => now.drain = Some(view),
            Some(part) => {
                let of = now.parts.iter_mut().find(|now| now.part == part);
                of.into_iter().for_each(|now| now.drain = view.clone());
            }
        });
    }
}

/// Whether two are the same part; there is no more than one drain of a share, however large.
fn is_same(one: Option<Part>, other: Option<Part>) -> bool {
    match (one, other) {
        (Some(Part::Share(_)), Some(Part::Share(_))) => true,
        _ => one == other,
    }
}
