//! Names are looked up again and again: their new addresses join, and those that are gone take no
//! new sessions.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use crate::config::Endpoint;

use super::Endpoints;
use super::member::{Address, Member};
use crate::session::EndpointId;

/// How long a look-up may take: the system's resolver gives up after 30 seconds or so.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks names up, as `host:port`.
pub trait Resolve: Send + Sync + std::fmt::Debug {
    /// All the addresses of a name.
    fn resolve<'n>(
        &'n self,
        name: &'n str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'n>>;
}

/// The system's resolver (getaddrinfo(3)), on a thread of its own.
#[derive(Debug)]
pub struct System;

impl Resolve for System {
    fn resolve<'n>(
        &'n self,
        name: &'n str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'n>> {
        Box::pin(async move { Ok(tokio::net::lookup_host(name).await?.collect()) })
    }
}

impl Endpoints {
    /// How long an answer is held to be true; none where there is no name to be looked up.
    pub fn resolve_interval(&self) -> Option<Duration> {
        let interval = self.settings.resolve_interval;
        (!self.names().is_empty()).then_some(interval)
    }

    fn names(&self) -> Vec<(usize, &Endpoint)> {
        let endpoints = self.settings.endpoints.iter().enumerate();
        endpoints
            .filter(|(_, endpoint)| Address::of(endpoint).is_none())
            .collect()
    }

    /// Looks up all names. One that cannot be looked up keeps the addresses that are known.
    ///
    /// # Errors
    /// The last look-up's that failed.
    pub async fn resolve(&self) -> io::Result<()> {
        let mut last = Ok(());
        for (source, name) in self.names() {
            let looked_up = timeout(PATIENCE, self.resolver.resolve(&name.0)).await;
            match looked_up.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(found) if found.is_empty() => last = Err(io::ErrorKind::NotFound.into()),
                Ok(found) => self.adopt(source, &found),
                Err(error) => {
                    tracing::warn!(upstream = %self.name(), %name, %error, "look-up failed");
                    last = Err(error);
                }
            }
        }
        last
    }

    /// Takes what a name stands for now.
    fn adopt(&self, source: usize, found: &[SocketAddr]) {
        let mut members = self.lock();
        let is_first = !members.resolved[source];
        let mut of_name = members.sources[source].clone();
        let mut is_changed = false;
        of_name.retain(|id| {
            let member = members.list.iter().find(|member| member.id() == *id);
            let stays = member.is_some_and(
                |member| matches!(member.address(), Address::Tcp(addr) if found.contains(addr)),
            );
            is_changed |= !stays;
            stays
        });
        let mut joined = Vec::new();
        for addr in found {
            let address = Address::Tcp(*addr);
            let known = members.list.iter().chain(&joined);
            // An address may be there by another name too.
            let back = |member: &Arc<Member>| *member.address() == address;
            let id = match known.clone().find(|member| back(member)) {
                Some(member) => member.id(),
                None if members.leaving.iter().any(back) => {
                    let at = members.leaving.iter().position(back).unwrap_or_default();
                    let member = members.leaving.remove(at);
                    member.come_back();
                    let id = member.id();
                    joined.push(member);
                    id
                }
                None => {
                    let id = EndpointId {
                        upstream: self.index,
                        member: members.next,
                    };
                    members.next += 1;
                    let host = self.settings.endpoints[source].host();
                    joined.push(Arc::new(Member::new(id, address, host, !is_first)));
                    id
                }
            };
            if !of_name.contains(&id) {
                of_name.push(id);
                is_changed = true;
            }
        }
        members.resolved[source] = true;
        members.sources[source] = of_name;
        if !is_changed {
            return;
        }
        let sources = &members.sources;
        let wanted = |member: &Arc<Member>| sources.iter().flatten().any(|id| *id == member.id());
        let (stay, gone): (Vec<_>, Vec<_>) = members
            .list
            .iter()
            .cloned()
            .partition(|member| wanted(member));
        for member in &gone {
            member.leave();
            tracing::info!(upstream = %self.name(), endpoint = %member.label(), "endpoint is gone");
        }
        for member in &joined {
            tracing::info!(upstream = %self.name(), endpoint = %member.label(), "endpoint joins");
        }
        members.leaving.retain(|member| member.is_kept());
        members.leaving.extend(gone);
        members.list = stay.into_iter().chain(joined).collect();
        self.version.fetch_add(1, Ordering::Release);
    }
}
