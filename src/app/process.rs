//! The process from its configuration to its exit code: bind, run, end.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;

use tokio::runtime::{Builder, LocalOptions, LocalRuntime};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::control::Reloads;
use crate::admin::{self, Board, Exposition, Health, Readiness, readiness, recorder};
use crate::config::{Bind, Config, ListenerName};
use crate::drain::{self, Control, Drain, Report, Retirements, Windows, Witness};
#[cfg(feature = "systemd")]
use crate::lifecycle::Systemd;
use crate::lifecycle::{Desks, Platforms, Signals, hooks};
use crate::net::tls::TlsListeners;
use crate::net::{Descriptors, Inherited, TcpBound, Upstreams};
use crate::session::metrics::Durations;
use crate::session::{
    Complaints, Holds, Ledger, Ledgers, ListenerIndex, PhaseView, Records, Roster, Whom, Workers,
};

use super::access_log::AccessLog;
use super::births::{Births, SharedSeed, births};
use super::error::Error;
use super::plan::Plan;
use super::reload::{Reloader, Source};
use super::sockets::Sockets;
#[cfg(feature = "systemd")]
use super::systemd;
use super::{health, log, platforms, tls, worker};

/// Everything bound, nothing served yet.
pub struct App {
    config: Arc<Config>,
    listeners: Vec<TcpBound>,
    health: TcpListener,
    admin: admin::Bound,
    roster: Roster,
    plan: Plan,
    descriptors: Descriptors,
    control: Control,
    wishes: drain::Wishes,
    source: Option<Source>,
}

/// How the process ends.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub exit_code: u8,
    /// The report of the drain; none if there was nothing to drain.
    pub report: Option<Arc<Report>>,
}

/// The exit code for what could not be started.
const FAILED: u8 = 1;

/// Runs the proxy in the foreground until it is drained, and gives its exit code. Installs the log
/// and the signal handlers.
pub fn run(config: Config, source: Source) -> u8 {
    log::install(&config.log);
    #[cfg(feature = "systemd")]
    let inherited = Inherited::from_environment();
    #[cfg(not(feature = "systemd"))]
    let inherited = Inherited::default();
    let outcome = runtime().and_then(|runtime| {
        // First of all, so that a signal during start-up is heard.
        let signals = {
            let _inside = runtime.enter();
            Signals::install().map_err(|source| Error::Start {
                what: "signals",
                source,
            })?
        };
        let mut app = App::bind_but_for(inherited, config)?;
        app.source = Some(source);
        app.run_on(&runtime, Some(signals))
    });
    match outcome {
        Ok(ended) => ended.exit_code,
        Err(error) => {
            tracing::error!(%error, "the proxy cannot run");
            FAILED
        }
    }
}

fn runtime() -> Result<LocalRuntime, Error> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    runtime.map_err(|source| Error::Start {
        what: "the runtime",
        source,
    })
}

impl App {
    /// Binds every address.
    ///
    /// # Errors
    /// When one cannot be bound; the error names the key and the address.
    pub fn bind(config: Config) -> Result<App, Error> {
        App::bind_but_for(Inherited::default(), config)
    }

    /// Binds every address that there is no socket for yet.
    fn bind_but_for(mut inherited: Inherited, config: Config) -> Result<App, Error> {
        let descriptors = Descriptors::raise();
        let names = config
            .listeners
            .iter()
            .map(|listener| listener.name.clone());
        let roster = Roster::new(names);
        let config = Arc::new(config);
        let most = most_connections(&config, &descriptors);
        descriptors.make_room(most);
        // The metrics of endpoints are registered with it.
        recorder();
        let secrets = tls::read(&config)?;
        let plan = Plan::first(Arc::clone(&config), secrets, &roster, most);
        let Sockets {
            listeners,
            health,
            admin,
        } = Sockets::bind(&mut inherited, &config)?;
        let (control, wishes) = drain::channel();
        Ok(App {
            config,
            listeners,
            health,
            admin,
            roster,
            plan,
            descriptors,
            control,
            wishes,
            source: None,
        })
    }

    /// The address that a listener is bound to.
    pub fn listener_addr(&self, name: &str) -> Option<SocketAddr> {
        let at = self
            .config
            .listeners
            .iter()
            .position(|listener| &*listener.name.0 == name)?;
        self.listeners[at].socket.local_addr().ok()
    }

    /// The address that health is bound to.
    pub fn health_addr(&self) -> SocketAddr {
        self.health.local_addr().unwrap_or(self.config.health.bind)
    }

    /// Where the control API is bound.
    pub fn admin_addr(&self) -> Bind {
        match &self.admin {
            admin::Bound::Tcp(socket) => match socket.local_addr() {
                Ok(addr) => Bind::Tcp(addr),
                Err(_) => self.config.admin.bind.clone(),
            },
            admin::Bound::Unix(_) => self.config.admin.bind.clone(),
        }
    }

    /// The handle that starts a drain.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Serves until a drain that ends the process is over. Blocks the calling thread.
    ///
    /// # Errors
    /// When a thread or a runtime cannot be made.
    pub fn run(self) -> Result<Ended, Error> {
        self.run_on(&runtime()?, None)
    }

    fn run_on(self, runtime: &LocalRuntime, signals: Option<Signals>) -> Result<Ended, Error> {
        let descriptors = self.descriptors;
        let most = move |config: &Config| most_connections(config, &descriptors);
        let bound = self.admin_addr();
        let App {
            config,
            listeners,
            health: health_socket,
            admin: admin_socket,
            roster,
            plan,
            control,
            wishes,
            source,
            ..
        } = self;
        let (phase, view) = watch::channel(PhaseView::starting());
        let stop = CancellationToken::new();
        let holds = Holds::new();
        let windows = Windows::new(config.drain.window);
        let board = Board::default();
        let (access_log, records) = AccessLog::open(&config, &roster)
            .map_err(|source| Error::Start {
                what: "the access log",
                source,
            })?
            .unzip();
        let ledgers = ledgers(&config, &roster, records.as_ref());
        let (upstreams, secured) = (Upstreams::default(), TlsListeners::default());
        plan.publish(&upstreams, &secured);
        let (plan, planned) = watch::channel(Arc::new(plan));
        let (settings, set) = watch::channel(Arc::new(config.drain.clone()));
        let (ahead, known_ahead) = watch::channel(config.longest_announcement());
        let (reloads, asked) = Reloads::channel();

        let ready = Readiness {
            phase: view.clone(),
            upstreams: upstreams.clone(),
            ledgers: ledgers.clone(),
            drain: set.clone(),
        };
        let exposition = Exposition {
            roster: roster.clone(),
            tls: secured.clone(),
            ledgers: ledgers.clone(),
            phase: view.clone(),
            holds: holds.clone(),
            drains: Arc::new(Mutex::new(BTreeMap::new())),
            board: board.clone(),
            upstreams: upstreams.clone(),
            access_log_dropped: records
                .as_ref()
                .map(|records| Arc::clone(records.dropped())),
        };
        for (listener, socket) in config.listeners.iter().zip(&listeners) {
            say_listening(&listener.name, listener.protocol, &socket.socket);
        }
        if let Ok(addr) = health_socket.local_addr() {
            tracing::info!(%addr, "health listening");
        }
        tracing::info!(addr = %bound, "admin listening");
        let (inboxes, orders): (Vec<_>, Vec<_>) = (0..config.workers.get())
            .map(|_| mpsc::unbounded_channel())
            .unzip();
        let workers = Workers::new(inboxes);
        let (reports, reported) = watch::channel(None);
        let (mut witness, hooks, calls) = hooks::channel(&config.drain.hooks, &holds);
        witness.over = log::metrics(&config.log);
        let health = health::Birth {
            socket: health_socket,
            health: Health {
                readiness: ready.clone(),
                exposition: exposition.clone(),
            },
            admin_socket,
            control: admin::control::Control {
                settings: config.admin.clone(),
                bound,
                drain: set.clone(),
                windows: windows.clone(),
                board: board.clone(),
                asks: control.clone(),
                reloads: reloads.clone(),
                reports: reported,
                phase: view.clone(),
                roster: roster.clone(),
                upstreams: upstreams.clone(),
                ledgers: ledgers.clone(),
                workers: workers.clone(),
                holds: holds.clone(),
                begun: Instant::now(),
                stop: stop.clone(),
                streams: Arc::new(Semaphore::new(admin::control::STREAMS)),
                calls: Arc::new(Mutex::new(admin::control::Bucket::new(Instant::now()))),
            },
            plan: planned.clone(),
            hooks,
            stop: stop.clone(),
        };
        let written = CancellationToken::new();
        let access_log = match access_log {
            Some(log) => {
                let written = written.clone();
                Some(start("access-log", move || log.run(written))?)
            }
            None => None,
        };
        let mut threads = vec![start("health", move || health::run(health))?];
        #[cfg(feature = "systemd")]
        if let Some(systemd) = Systemd::new(&view, &ledgers, &holds, &workers) {
            let stop = stop.clone();
            threads.push(start("systemd", move || systemd::run(systemd, stop))?);
        }

        let desks = Desks {
            control: control.clone(),
            phase: view.clone(),
            reports: reports.subscribe(),
            windows: windows.clone(),
            ledgers: ledgers.clone(),
            holds: holds.clone(),
            board,
        };
        let ending = CancellationToken::new();
        let platforms = match Platforms::new(&config.platforms, &desks) {
            Some(platforms) => {
                let ending = ending.clone();
                Some(start("platforms", move || {
                    platforms::run(platforms, ending)
                })?)
            }
            None => None,
        };

        let shared = SharedSeed {
            ledgers: ledgers.clone(),
            plan: planned,
            phase: view.clone(),
            health: Arc::new(move |listener| readiness(&ready, Some(listener))),
            stop: stop.clone(),
        };
        let Births {
            births,
            ready: births_ready,
            mut doors,
        } = births(shared, orders);
        for ((index, bound), listener) in (0..)
            .map(ListenerIndex)
            .zip(listeners)
            .zip(&config.listeners)
        {
            doors.open(index, listener.bind, Some(bound));
        }
        for birth in births {
            threads.push(start("worker", move || worker::run(birth))?);
        }

        let retirements = Rc::new(Retirements {
            settings: set.clone(),
            ahead: known_ahead.clone(),
            ledgers: ledgers.clone(),
            workers: workers.clone(),
            roster: roster.clone(),
            phase: phase.clone(),
            drains: {
                let exposition = exposition.clone();
                Box::new(move |trigger| exposition.count_drain(trigger))
            },
            witness: Witness {
                asked: witness.asked.clone(),
                ..Witness::default()
            },
        });
        let reloader = Reloader {
            source,
            plan,
            upstreams: upstreams.clone(),
            tls: secured,
            drain: settings,
            ahead,
            windows: windows.clone(),
            roster: roster.clone(),
            phase: view,
            doors,
            retirements,
            most: Box::new(most),
        };
        let drain = Drain::new(drain::Parts {
            settings: set,
            windows,
            roster,
            upstreams,
            ahead: known_ahead,
            ledgers,
            workers: workers.clone(),
            holds,
            phase,
            reports,
            wishes,
            drains: Box::new(move |trigger| exposition.count_drain(trigger)),
            witness,
        });
        let ended = runtime.block_on(async {
            for ready in births_ready {
                // A worker that could not start has said why.
                let _ = ready.await;
            }
            let serve_signals = async {
                match signals {
                    Some(signals) => signals.serve(control, reloads).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ended = drain.run() => ended,
                () = reloader.run(asked) => drain::Ended { report: None, cut: false },
                () = serve_signals => drain::Ended { report: None, cut: false },
            }
        });
        // The agent hears of the end while health and the control API still answer.
        runtime.block_on(calls.over());
        ending.cancel();
        join(platforms);
        // Connections that hold nothing are still there; they end with the workers.
        runtime.block_on(workers.cut(&Whom::All));
        stop.cancel();
        join(threads);
        // The workers have ended what was open.
        written.cancel();
        join(access_log);
        let exit_code = if ended.cut {
            config.drain.exit_code_when_cut
        } else {
            0
        };
        Ok(Ended {
            exit_code,
            report: ended.report,
        })
    }
}

/// The configured limit, as far as the descriptors allow it.
fn most_connections(config: &Config, descriptors: &Descriptors) -> usize {
    let allowed = descriptors.connections();
    let wanted = config.limits.max_connections;
    let wanted = wanted.map_or(allowed, std::num::NonZero::get);
    if wanted > allowed {
        tracing::warn!(
            wanted,
            allowed,
            descriptors = descriptors.limit(),
            "limits.max_connections is more than the descriptors allow; raise the limit on open \
             files (ulimit -n)"
        );
    }
    wanted.min(allowed)
}

fn say_listening(name: &ListenerName, protocol: crate::config::Protocol, socket: &TcpListener) {
    let protocol = protocol.label();
    if let Ok(addr) = socket.local_addr() {
        tracing::info!(listener = %name, protocol, %addr, "listening");
    }
}

fn ledgers(config: &Config, roster: &Roster, records: Option<&Records>) -> Ledgers {
    let durations = Durations::register();
    let complaints = Arc::new(Complaints::new(roster.clone()));
    let ledger = |_| {
        let ledger = Ledger::new(roster.capacity(), durations.clone());
        let ledger = ledger.with_complaints(Arc::clone(&complaints));
        Arc::new(ledger.with_records(records.cloned()))
    };
    Ledgers::new((0..config.workers.get()).map(ledger).collect())
}

/// Waits for threads to end.
fn join(threads: impl IntoIterator<Item = thread::JoinHandle<io::Result<()>>>) {
    for thread in threads {
        if let Ok(Err(error)) = thread.join() {
            tracing::error!(%error, "a thread has failed");
        }
    }
}

fn start<T: Send + 'static>(
    name: &'static str,
    run: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<thread::JoinHandle<io::Result<T>>, Error> {
    let thread = thread::Builder::new().name(format!("lameduck-{name}"));
    thread
        .spawn(run)
        .map_err(|source| Error::Start { what: name, source })
}
