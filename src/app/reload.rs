//! A reload: the configuration is read anew, and what has changed is served from then on. All of it
//! holds, or none; sessions that are open stay as they are.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::admin::control::{NotReloaded, Reloaded, Reply};
use crate::config::{self, Config, Faults, Finding, Listener, Loaded, Severity, needs_restart};
use crate::drain::{Retirements, Windows};
use crate::net::tls::TlsListeners;
use crate::net::{Tasks, TcpBound, Upstreams, bind};
use crate::session::{ListenerIndex, Part, Phase, PhaseView, Roster};

use super::doors::Doors;
use super::error::Error;
use super::plan::Plan;
use super::tls;

/// Reads the configuration anew.
pub type Source = Box<dyn Fn() -> Result<Loaded, Faults> + Send>;

/// What a reload reads and writes.
pub(super) struct Reloader {
    /// Nothing can be read again without one.
    pub(super) source: Option<Source>,
    pub(super) plan: watch::Sender<Arc<Plan>>,
    pub(super) upstreams: Upstreams,
    pub(super) tls: TlsListeners,
    pub(super) drain: watch::Sender<Arc<config::Drain>>,
    pub(super) ahead: watch::Sender<Duration>,
    pub(super) windows: Windows,
    pub(super) roster: Roster,
    pub(super) phase: watch::Receiver<PhaseView>,
    pub(super) doors: Doors,
    pub(super) retirements: Rc<Retirements>,
    /// The most client connections that a configuration may have.
    pub(super) most: Box<dyn Fn(&Config) -> usize>,
}

/// Where a listener's connections come from after a reload.
enum Way {
    /// From where they came before.
    Stays,
    /// From a socket that is new.
    Bound(TcpBound),
    /// From the socket of another listener, which gives it up.
    Of(ListenerIndex),
}

impl Reloader {
    /// Reloads whenever it is asked to.
    pub(super) async fn run(mut self, mut asked: mpsc::UnboundedReceiver<Reply>) {
        let tasks = Tasks::new();
        let mut going = BTreeMap::new();
        while let Some(reply) = asked.recv().await {
            let outcome = self.reload(&tasks, &mut going).await;
            match &outcome {
                Ok(changes) => tracing::info!(
                    added = ?changes.added,
                    changed = ?changes.changed,
                    removed = ?changes.removed,
                    upstreams = ?changes.upstreams,
                    settings = ?changes.settings,
                    "reloaded"
                ),
                Err(why) => {
                    if let NotReloaded::Refused(findings) = why {
                        for finding in findings {
                            tracing::error!("{finding}");
                        }
                    }
                    tracing::error!(%why, "not reloaded");
                }
            }
            // Whoever has gone need not hear.
            let _ = reply.send(outcome);
        }
    }

    async fn reload(
        &mut self,
        tasks: &Tasks,
        going: &mut BTreeMap<ListenerIndex, CancellationToken>,
    ) -> Result<Reloaded, NotReloaded> {
        going.retain(|_, going| !going.is_cancelled());
        if self.phase.borrow().phase != Phase::Serving {
            return Err(NotReloaded::Draining);
        }
        let source = self.source.as_ref().ok_or(NotReloaded::Nothing)?;
        let loaded = source();
        let refused = |faults: Faults| NotReloaded::Refused(faults.findings().to_vec());
        let Loaded { config, warnings } = loaded.map_err(refused)?;
        let before = Arc::clone(&self.plan.borrow());
        let fixed = needs_restart(&before.config, &config);
        if !fixed.is_empty() {
            return Err(NotReloaded::Refused(fixed));
        }
        let removed: Vec<_> = before
            .served()
            .filter(|(_, served)| {
                let mut next = config.listeners.iter();
                !next.any(|next| next.name == served.settings.name)
            })
            .map(|(listener, served)| (listener, served.settings.name.to_string()))
            .collect();
        self.are_free(&removed)?;
        let secrets = tls::read(&config).map_err(|error| {
            let (key, what) = match error {
                Error::Tls { of, what } => (format!("{of}: tls"), what),
                other => (String::new(), other.to_string()),
            };
            NotReloaded::Refused(vec![refusal(&key, &what)])
        })?;
        let ways = self.ways(&config)?;
        let added = self.places_for(&config)?;

        // From here on nothing can fail.
        let config = Arc::new(config);
        let most = (self.most)(&config);
        let plan = before.next(Arc::clone(&config), secrets, &self.roster, most);
        let plan = Arc::new(plan);
        for (listener, _) in &removed {
            self.roster.remove(*listener);
        }
        let changes = changes(&before, &plan, &added, &removed, &warnings);
        for (listener, _) in plan.served() {
            if let Some(going) = going.remove(&listener) {
                going.cancel();
                self.retirements.keep(listener);
            }
        }
        plan.publish(&self.upstreams, &self.tls);
        self.drain.send_replace(Arc::new(config.drain.clone()));
        self.ahead.send_replace(config.longest_announcement());
        self.windows.configure(config.drain.window);
        self.plan.send_replace(plan);
        // Whoever hears that it is reloaded finds it so. A worker that has gone serves nobody.
        self.retirements.workers.all_come_round().await;
        self.open(&config.listeners, ways).await;
        for (listener, _) in removed {
            let closed = self.doors.close(listener);
            let (retirements, cancelled) = (Rc::clone(&self.retirements), CancellationToken::new());
            going.insert(listener, cancelled.clone());
            tasks.spawn(async move {
                if let Some(closed) = closed {
                    // An acceptor that has gone has closed its socket too.
                    let _ = closed.await;
                }
                let gone = retirements.retire(listener);
                cancelled.run_until_cancelled(gone).await;
                cancelled.cancel();
            });
        }
        Ok(changes)
    }

    /// Refuses to let go of listeners that somebody is draining: two drains of one would each tell
    /// of the other's sessions.
    fn are_free(&self, removed: &[(ListenerIndex, String)]) -> Result<(), NotReloaded> {
        let view = self.phase.borrow();
        let is_draining = |listener: ListenerIndex| {
            let mut parts = view.parts.iter();
            parts.any(|part| part.part == Part::Listener(listener) && part.phase != Phase::Drained)
        };
        let busy = removed
            .iter()
            .filter(|(listener, _)| is_draining(*listener));
        let findings = busy.map(|(_, name)| Finding {
            help: "wait for the end of its drain, or cancel it, and reload again".to_owned(),
            ..refusal(&format!("listener {name}"), "it is being drained")
        });
        let findings: Vec<_> = findings.collect();
        match findings.is_empty() {
            true => Ok(()),
            false => Err(NotReloaded::Refused(findings)),
        }
    }

    /// The sockets that the listeners of a configuration need, those that are new bound.
    fn ways(&self, config: &Config) -> Result<Vec<Way>, NotReloaded> {
        let stays = |listener: ListenerIndex| {
            let name = self.roster.name(listener);
            let of = |next: &&Listener| *next.name.0 == *name;
            let next = config.listeners.iter().find(of);
            next.is_some_and(|next| self.doors.addr(listener) == Some(next.bind))
        };
        let mut ways = Vec::new();
        let mut findings = Vec::new();
        for next in &config.listeners {
            let own = self.roster.find(&next.name.0);
            if own.is_some_and(stays) {
                ways.push(Way::Stays);
                continue;
            }
            let other = self.doors.at(next.bind).filter(|other| !stays(*other));
            if let Some(other) = other {
                ways.push(Way::Of(other));
                continue;
            }
            match bind(next.bind) {
                Ok(socket) => ways.push(Way::Bound(TcpBound {
                    socket,
                    is_shared: false,
                })),
                Err(error) => findings.push(refusal(
                    &format!("listener {}", next.name),
                    &error.to_string(),
                )),
            }
        }
        match findings.is_empty() {
            true => Ok(ways),
            false => Err(NotReloaded::Refused(findings)),
        }
    }

    /// Gives every listener its place; those that had none before are named.
    fn places_for(&self, config: &Config) -> Result<Vec<String>, NotReloaded> {
        let listeners = config.listeners.iter().map(|listener| &listener.name);
        let new: Vec<_> = listeners
            .filter(|name| self.roster.find(&name.0).is_none())
            .collect();
        if !self.roster.has_room_for(&new) {
            let what = "there are too many listeners whose sessions have not gone yet";
            return Err(NotReloaded::Refused(vec![refusal("listener", what)]));
        }
        for name in &new {
            self.roster.add(name);
        }
        Ok(new.into_iter().map(ToString::to_string).collect())
    }

    /// Has the listeners accept that did not, each by its way.
    async fn open(&mut self, listeners: &[Listener], ways: Vec<Way>) {
        let mut opened = Vec::new();
        for (next, way) in listeners.iter().zip(ways) {
            let bound = match way {
                Way::Stays => continue,
                Way::Bound(bound) => Some(bound),
                Way::Of(other) => self.doors.hand_over(other).await,
            };
            opened.push((next, bound));
        }
        for (next, bound) in opened {
            let Some(listener) = self.roster.find(&next.name.0) else {
                continue;
            };
            // It may have another socket still: what waits there is taken first.
            drop(self.doors.close(listener));
            if let Some(Ok(addr)) = bound.as_ref().map(|bound| bound.socket.local_addr()) {
                let name = &*next.name.0;
                tracing::info!(listener = name, protocol = next.protocol.label(), %addr, "listening");
            }
            self.doors.open(listener, next.bind, bound);
        }
    }
}

fn refusal(key: &str, what: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        key: key.to_owned(),
        place: None,
        what: what.to_owned(),
        help: "nothing was changed; mend it and reload again".to_owned(),
    }
}

fn changes(
    before: &Plan,
    after: &Plan,
    added: &[String],
    removed: &[(ListenerIndex, String)],
    warnings: &[Finding],
) -> Reloaded {
    let changed = after.served().filter(|(listener, served)| {
        let before = before.at(*listener);
        before.is_some_and(|before| !before.is_as(&served.settings, &after.config))
    });
    let upstreams = after.config.upstreams.iter();
    let upstreams = upstreams.filter(|upstream| !before.config.upstreams.contains(upstream));
    let (then, now) = (&before.config, &after.config);
    let settings = [
        ("drain", then.drain == now.drain),
        ("limits", then.limits == now.limits),
    ];
    let settings = settings.into_iter().filter(|(_, same)| !same);
    Reloaded {
        added: added.to_vec(),
        changed: changed
            .map(|(_, served)| served.settings.name.to_string())
            .collect(),
        removed: removed.iter().map(|(_, name)| name.clone()).collect(),
        upstreams: upstreams
            .map(|upstream| upstream.name.to_string())
            .collect(),
        settings: settings.map(|(table, _)| table.to_owned()).collect(),
        warnings: warnings.iter().map(ToString::to_string).collect(),
    }
}
