//! The drain of one endpoint, while the others serve.

use std::sync::Arc;

use crate::net::Endpoints;
use crate::session::{EndpointId, Facts, Holding, Kind, Part, PartView, Phase};

use super::control::{Answer, Reply};
use super::course::{Broken, Course};
use super::machine::Event;
use super::run::Drain;

impl Drain {
    /// The way of an endpoint. New sessions go elsewhere from the first moment on: there is no
    /// balancer that would have to notice, and so no lame duck stretch.
    pub(super) async fn leave_of_endpoint(
        &mut self,
        course: &mut Course,
        id: EndpointId,
        reply: Reply,
    ) -> Result<(), Broken> {
        self.enter(course, Event::Trigger);
        let mut on_it = Vec::new();
        let look = |facts: Facts| {
            if facts.endpoint == Some(id) {
                on_it.push(facts);
            }
        };
        self.workers.each(look).await;
        course.notes.choose(&on_it);
        drop(on_it);
        let _ = reply.send(Ok(Answer::Started(self.view())));
        self.enter(course, Event::ArrivalsEnded);
        self.finish(course).await?;
        if self.is_empty(course) {
            return Ok(());
        }
        self.enter(course, Event::TimeToClose);
        self.close(course).await
    }

    /// Whether a session is one to be asked. A request is on an endpoint only until it is answered,
    /// and its client's connection is not: it is left to end.
    pub(super) fn is_to_be_asked(part: Option<Part>, facts: &Facts) -> bool {
        !matches!(part, Some(Part::Endpoint(_))) || facts.holding != Holding::Session(Kind::Http)
    }

    /// How many sessions are on an endpoint, or on their way to it.
    pub(super) fn sessions_on(&self, id: EndpointId) -> usize {
        self.of(id)
            .and_then(|endpoints| endpoints.member(id))
            .map_or(0, |member| member.sessions())
    }

    pub(super) fn set_drained(&self, id: EndpointId, is_drained: bool) {
        if let Some(endpoints) = self.of(id) {
            endpoints.set_drained(id, is_drained);
        }
    }

    pub(super) fn name_of_endpoint(&self, id: EndpointId) -> String {
        let Some(endpoints) = self.of(id) else {
            return "endpoint".to_owned();
        };
        let upstream = endpoints.name();
        match endpoints.member(id) {
            Some(member) => format!("endpoint {upstream}/{}", member.label()),
            None => format!("endpoint {upstream}/gone"),
        }
    }

    /// The parts that stay as they are when the process serves again; the other endpoints take
    /// sessions again.
    pub(super) fn staying(&self, parts: &[PartView]) -> Vec<PartView> {
        let mut drained = Vec::new();
        for view in parts {
            match (view.part, view.phase) {
                (Part::Endpoint(_), Phase::Drained) | (Part::Removed(_), _) => {
                    drained.push(view.clone());
                }
                (Part::Endpoint(id), _) => self.set_drained(id, false),
                _ => {}
            }
        }
        drained
    }

    fn of(&self, id: EndpointId) -> Option<Arc<Endpoints>> {
        self.upstreams.of(id)
    }
}
