//! A worker: one core's runtime, with its pump, its connections, its way to the agents.

use std::cell::Cell;
use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;
use tokio::task::yield_now;
use tokio::time::{MissedTickBehavior, interval};

use crate::config::{Protocol, Upstream};
use crate::http::{Agent, Arrival, Connections, Front, Site};
use crate::net::tls::{Handshakes, Turns};
use crate::net::{Endpoints, Tarpit, Tasks, parking};
use crate::relay::Pump;
use crate::session::{
    Home, Ledger, ListenerIndex, Order, Page, Phase, PhaseView, Refusal, SessionId, Terms,
};

use super::acceptor::Acceptor;
use super::door::Door;
use super::doors::Opening;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
use super::huge_pages::HugePages;
use super::place::{Arrived, Place};
use super::plan::{Plan, Served};
use super::upkeep::Upkeep;
use super::wiring::{Birth, Handed, Shared};

/// How often connections are looked at whose time may be over.
const SWEEP: Duration = Duration::from_millis(250);
/// Who has been there for so long is no part of a flood that passes.
const LASTING: Duration = Duration::from_secs(1);
/// New connections that are taken in a turn of the worker's loop: a crowd that comes at once is taken in
/// over many, and the sessions have theirs in between.
const AT_ONCE: usize = 4;
/// Connections beyond the limit that are still told so; more are closed without a word.
const TOLD_OF_OVERLOAD: usize = 16;

/// Refused connections that are held back take one of so many places at most.
const ONE_OF: usize = 8;
/// And no more than that.
const MOST_HELD: usize = 1_024;

/// Runs a worker until it is told to stop.
///
/// # Errors
/// When the runtime or the pump cannot be made, or the readiness set fails.
pub(super) fn run(birth: Birth) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .on_thread_park(parking::nothing_left_to_do)
        .build_local(LocalOptions::default())?;
    runtime.block_on(work(birth))
}

/// How many refused connections a worker holds back: of the places that there are for connections, since they
/// take such.
fn held_at_most(shared: &Shared) -> usize {
    let workers = shared.hand.len().max(1);
    (shared.plan.borrow().most / workers / ONE_OF).min(MOST_HELD)
}

struct Worker {
    shared: Shared,
    ledger: Arc<Ledger>,
    pump: Pump,
    connections: Connections,
    tasks: Tasks,
    handshakes: Turns,
    tarpit: Tarpit,
    upkeep: Upkeep,
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    huge_pages: HugePages,
    plan: watch::Receiver<Arc<Plan>>,
    /// By listener's place in the roster.
    places: Vec<Option<Rc<Place>>>,
    /// Those of places that a reload has changed, as long as sessions use them.
    former: Vec<Weak<Agent>>,
}

async fn work(birth: Birth) -> io::Result<()> {
    let Birth {
        index,
        shared,
        mut orders,
        mut handed,
        mut openings,
        ready,
    } = birth;
    let (pump, drive) = Pump::new(index)?;
    let _awake = parking::instead_of_sleep({
        let pump = pump.clone();
        move || pump.linger()
    });
    let mut view = shared.phase.clone();
    // However many they are, the sessions are served in between.
    let tasks = Tasks::new().with_between({
        let pump = pump.clone();
        move || pump.breathe()
    });
    let mut worker = Worker {
        ledger: Arc::clone(shared.ledgers.of(index)),
        pump,
        connections: Connections::new(index),
        tasks: tasks.clone(),
        handshakes: Turns::default(),
        tarpit: Tarpit::new(held_at_most(&shared)),
        plan: shared.plan.clone(),
        places: Vec::new(),
        former: Vec::new(),
        upkeep: Upkeep::default(),
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        huge_pages: HugePages::default(),
        shared,
    };
    worker.catch_up();
    worker.note_phase(&view.borrow_and_update());
    let stop = worker.shared.stop.clone();
    tasks.spawn(async move {
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut taken = 0;
        loop {
            if taken == AT_ONCE {
                taken = 0;
                yield_now().await;
            }
            tokio::select! {
                Some(order) = orders.recv() => worker.obey(order),
                Some(opening) = openings.recv() => worker.accept_for(opening),
                Some(handed) = handed.recv() => {
                    worker.take(handed);
                    worker.pump.breathe();
                    taken += 1;
                }
                Ok(()) = view.changed() => worker.note_phase(&view.borrow_and_update()),
                _ = sweep.tick() => worker.sweep(),
            }
        }
    });
    // Whoever waits for this has gone only if the process is ending.
    let _ = ready.send(());
    // The pump is no task among the others: it would wait behind all that are ready, be there a thousand.
    // So it has its turn whenever some of them have had theirs.
    tokio::select! {
        biased;
        driven = drive => driven,
        () = stop.cancelled() => Ok(()),
    }
}

impl Worker {
    /// Makes a place of every listener that is new or has changed. The place of one that is served
    /// no more stays, for those who are still on their way to it.
    fn adopt(&mut self, plan: &Plan) {
        for (listener, served) in plan.served() {
            let at = usize::from(listener.0);
            if self.places.len() <= at {
                self.places.resize_with(at + 1, || None);
            }
            let same = |place: &Rc<Place>| Arc::ptr_eq(&place.served, served);
            if self.places[at].as_ref().is_some_and(same) {
                continue;
            }
            let place = self.place(listener, served, self.places[at].as_deref());
            if let Some(before) = self.places[at].replace(Rc::new(place)) {
                self.former.extend(before.agents().map(Rc::downgrade));
            }
        }
        self.note_phase(&self.shared.phase.borrow());
    }

    /// The place of a listener. Connections of the one before it, if there was one, go on here: their
    /// next requests go by what holds now.
    fn place(
        &self,
        listener: ListenerIndex,
        served: &Arc<Served>,
        before: Option<&Place>,
    ) -> Place {
        let Served {
            settings, upstream, ..
        } = &**served;
        let tells = self.ledger.has_records();
        let agent = |upstream: &Upstream, endpoints: &Arc<Endpoints>| {
            let (endpoints, tasks) = (Arc::clone(endpoints), self.tasks.clone());
            Rc::new(Agent::new(upstream, endpoints, tasks, self.pump.clone()).telling(tells))
        };
        let routes = served.routes.iter().map(|routed| {
            let agent = agent(&routed.upstream, &routed.agent);
            (routed.route.clone(), agent)
        });
        let routes: Vec<_> = routes.collect();
        let peer = served.peer.as_ref().map(|peer| agent(upstream, peer));
        let agent = agent(upstream, &served.agent);
        let goodbye = Rc::new(settings.goodbye.clone());
        let starting = || Rc::new(Cell::new(Phase::Starting));
        let phase = before.map_or_else(starting, |before| Rc::clone(&before.phase));
        let health = Arc::clone(&self.shared.health);
        let tls = served.tls.as_ref();
        let tls = tls.map(|tls| {
            let (turns, tarpit) = (self.handshakes.clone(), self.tarpit.clone());
            Handshakes::new(Arc::clone(tls), turns, tarpit)
        });
        let site = (settings.protocol == Protocol::Http).then(|| Site {
            listener,
            settings: settings.http.clone(),
            late: served.late,
            sse_retry: served.sse_retry,
            goodbye: Rc::clone(&goodbye),
            agent: Rc::clone(&agent),
            routes: routes.clone(),
            peer: peer.clone(),
            pump: self.pump.clone(),
            connections: self.connections.clone(),
            phase: Rc::clone(&phase),
            ledger: Arc::clone(&self.ledger),
            health: Some(Arc::new(move || health(listener))),
            tls: tls.clone(),
            tarpit: self.tarpit.clone(),
            tasks: self.tasks.clone(),
            close_timeout: served.close_timeout,
            limits: Rc::new(settings.edge.limits.clone()),
            limiter: served.limiter.clone(),
        });
        let before = before.and_then(|before| before.front.clone());
        let front = site.map(|site| match before {
            Some(front) => {
                front.replace(site);
                front
            }
            None => Front::new(site),
        });
        let door = Door {
            listener,
            edge: settings.edge.clone(),
            ledger: Arc::clone(&self.ledger),
            limiter: served.limiter.clone(),
            tarpit: self.tarpit.clone(),
        };
        Place {
            served: Arc::clone(served),
            door,
            pump: self.pump.clone(),
            tasks: self.tasks.clone(),
            phase,
            agent,
            routes,
            peer,
            front,
            tls,
            goodbye,
        }
    }

    fn note_phase(&self, view: &PhaseView) {
        for (index, place) in (0..).map(ListenerIndex).zip(&self.places) {
            if let Some(place) = place {
                place.phase.set(view.of(index));
            }
        }
    }

    /// Adopts the plan that holds, if it is not known yet.
    fn catch_up(&mut self) {
        if self.places.is_empty() || self.plan.has_changed().unwrap_or(false) {
            let plan = Arc::clone(&self.plan.borrow_and_update());
            self.adopt(&plan);
        }
    }

    fn accept_for(&self, opening: Opening) {
        let Opening {
            listener,
            addr,
            bound,
            stop,
        } = opening;
        let acceptor = Acceptor::new(self.shared.clone(), self.pump.clone(), listener, addr);
        self.tasks.spawn(acceptor.run(bound, stop));
    }

    /// Takes a connection that was handed to this worker.
    fn take(&mut self, handed: Handed) {
        // Whoever accepted it may have known of a listener before this worker has.
        self.catch_up();
        let Handed {
            socket,
            client,
            listener,
            arrival,
        } = handed;
        let connected = self.ledger.connected(listener);
        if arrival == Arrival::Overload && self.ledger.load() > self.room() {
            self.ledger.refused(listener, Refusal::Overload);
            return;
        }
        let Some(Some(place)) = self.places.get(usize::from(listener.0)) else {
            return;
        };
        let arrived = Arrived {
            socket,
            from: client,
            proxied: None,
            connected,
            arrival,
        };
        match place.door.knock(&arrived.socket, client) {
            Err(()) => {
                if let Some(wait) = self.tarpit.enter() {
                    self.tasks.spawn(async move {
                        wait.await;
                        drop(arrived);
                    });
                }
            }
            Ok(None) => place.serve(arrived),
            Ok(Some(_)) => self.tasks.spawn(Rc::clone(place).ask(arrived)),
        }
    }

    /// This worker's share of the connections, with those that are told of the overload.
    fn room(&self) -> usize {
        let workers = self.shared.hand.len();
        self.shared.plan.borrow().most.div_ceil(workers) + TOLD_OF_OVERLOAD.div_ceil(workers)
    }

    fn sweep(&mut self) {
        self.catch_up();
        let times = |listener: ListenerIndex| {
            let place = self.places.get(usize::from(listener.0));
            let place = place.and_then(Option::as_ref)?;
            let http = &place.served.settings.http;
            Some((http.header_timeout, http.idle_timeout))
        };
        self.connections.sweep(times, || self.pump.breathe());
        #[cfg(all(target_os = "linux", target_env = "gnu"))]
        self.huge_pages.look(|time| self.connections.lasting(time));
        let there_are = self.pump.has_lasting(LASTING) || self.connections.has_lasting(LASTING);
        self.handshakes.note_others(there_are);
        let (plan, pump) = (Arc::clone(&self.plan.borrow()), &self.pump);
        self.upkeep.look(&plan, pump, &self.connections);
        for place in self.places.iter().flatten() {
            for agent in place.agents() {
                agent.sweep();
            }
        }
        self.former
            .retain(|agent| agent.upgrade().inspect(|agent| agent.sweep()).is_some());
    }

    fn obey(&mut self, order: Order) {
        // Whoever orders may have changed what is served, and goes by that.
        self.catch_up();
        match order {
            Order::List { from, limit, reply } => {
                // Whoever asked and has gone needs no answer.
                let _ = reply.send(self.list(from, limit));
            }
            Order::Leave { ids, terms } => self.leave(&ids, terms),
            Order::Cut { whom, reply } => {
                let mut cut = self.pump.cut(&whom);
                cut.extend(self.connections.cut(&whom));
                let _ = reply.send(cut);
            }
        }
    }

    /// Pages run over the pump's slots first and the connections' after; the lowest bit of a
    /// place says which.
    fn list(&self, from: usize, limit: usize) -> Page {
        let (slot, in_http) = (from >> 1, from & 1 == 1);
        if in_http {
            let mut page = self.connections.list(slot, limit);
            page.next = page.next.map(|slot| slot << 1 | 1);
            return page;
        }
        let mut page = self.pump.list(slot, limit);
        page.next = Some(page.next.map_or(1, |slot| slot << 1));
        page
    }

    fn leave(&self, ids: &[SessionId], terms: Terms) {
        for id in ids {
            match id.home() {
                Home::Pump => self.pump.leave(*id, terms),
                Home::Http => self.connections.leave(*id, terms.until),
            }
        }
    }
}
