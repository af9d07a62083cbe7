//! An upstream whose settings have changed: what is known of its endpoints is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::{Endpoint, Upstream};
use crate::session::EndpointId;

use super::member::Member;
use super::{Endpoints, Members};

impl Endpoints {
    /// The same upstream with other settings. Endpoints that stay are the same, with their sessions
    /// and their health; those that do not take no new sessions.
    #[must_use]
    pub fn succeeded_by(&self, upstream: &Upstream) -> Endpoints {
        let next = Endpoints::new(self.index, upstream);
        let before = self.lock();
        let mut members = next.lock();
        let configured: Vec<_> = members.list.iter().cloned().collect();
        // Numbers go on, so that none is somebody else's.
        let mut numbers = before.next..;
        let mut list = Vec::new();
        let mut renamed = BTreeMap::new();
        for fresh in configured {
            let is_it = |member: &&Arc<Member>| member.address() == fresh.address();
            let (there, leaving) = (&before.list, &before.leaving);
            let member = match (there.iter().find(is_it), leaving.iter().find(is_it)) {
                (Some(member), _) => Arc::clone(member),
                (None, Some(member)) => {
                    member.come_back();
                    Arc::clone(member)
                }
                (None, None) => {
                    let id = EndpointId {
                        upstream: self.index,
                        member: numbers.next().unwrap_or(u32::MAX),
                    };
                    let address = fresh.address().clone();
                    Arc::new(Member::new(id, address, fresh.host(), true))
                }
            };
            renamed.insert(fresh.id(), member.id());
            list.push(member);
        }
        for (source, endpoint) in upstream.endpoints.iter().enumerate() {
            for id in &mut members.sources[source] {
                *id = renamed.get(id).copied().unwrap_or(*id);
            }
            members.keep_name(source, endpoint, &self.settings, &before, &mut list);
        }
        for member in before.list.iter().chain(&before.leaving) {
            if list.iter().all(|kept| kept.id() != member.id()) {
                member.leave();
                members.leaving.push(Arc::clone(member));
            }
        }
        members.next = numbers.start;
        members.list = list.into();
        drop(members);
        drop(before);
        next
    }
}

impl Members {
    /// A name that was there before stands for what it stood for, until it is looked up again.
    fn keep_name(
        &mut self,
        source: usize,
        endpoint: &Endpoint,
        settings: &Upstream,
        before: &Members,
        list: &mut Vec<Arc<Member>>,
    ) {
        if self.resolved[source] {
            return;
        }
        let mut known = settings.endpoints.iter();
        let Some(at) = known.position(|known| known == endpoint) else {
            return;
        };
        let of_name = before
            .list
            .iter()
            .filter(|member| before.sources[at].contains(&member.id()));
        for member in of_name {
            self.sources[source].push(member.id());
            if list.iter().all(|kept| kept.id() != member.id()) {
                list.push(Arc::clone(member));
            }
        }
        self.resolved[source] = before.resolved[at];
    }
}
