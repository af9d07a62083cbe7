//! Where a platform reports what it hears, and looks up what it has to know of the process.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::Board;
use crate::config::PlatformName;
#[cfg(feature = "aws")]
use crate::config::Window;
use crate::drain::{self, Report, Windows};
use crate::net::Tls;
use crate::session::{Holds, Ledgers, PhaseView};

use super::call::{self, Failed};

/// A sign that the machine, the pod or the task is to go.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    /// What was heard, for the log and the report.
    pub(super) sign: String,
    /// How long there is until the platform acts, where the sign itself says so.
    pub(super) left: Option<Duration>,
    /// Whether the balancer is known to send nothing new any more.
    pub(super) looks_away: bool,
}

/// What is open, as far as it keeps the process from going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Load {
    /// Sessions.
    pub(super) open: u64,
    /// Holds.
    pub(super) holds: usize,
}

/// What all platforms share.
#[derive(Clone, Debug)]
pub struct Desks {
    /// The way to the drain.
    pub control: drain::Control,
    /// The phase.
    pub phase: watch::Receiver<PhaseView>,
    /// The report of the last drain.
    pub reports: watch::Receiver<Option<Arc<Report>>>,
    /// How long there is.
    pub windows: Windows,
    /// The counts.
    pub ledgers: Ledgers,
    /// The holds.
    pub holds: Holds,
    /// What is known of the platforms.
    pub board: Board,
}

impl Desks {
    /// Desks of no process, at which platforms can be asked how they are set.
    #[cfg(feature = "aws")]
    pub(super) fn of_nobody(window: Window) -> Desks {
        let ((control, _), (_, phase)) = (drain::channel(), watch::channel(PhaseView::starting()));
        Desks {
            control,
            phase,
            reports: watch::channel(None).1,
            windows: Windows::new(window),
            ledgers: Ledgers::new(Vec::new()),
            holds: Holds::new(),
            board: Board::default(),
        }
    }
}

/// One platform's way to the rest of the process.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    name: PlatformName,
    desks: Desks,
    tls: Option<Tls>,
    ending: CancellationToken,
}

impl Desk {
    /// The desk of a platform that is on. Calls over TLS trust `tls`.
    pub(super) fn new(name: PlatformName, desks: &Desks, tls: Option<Tls>) -> Desk {
        desks.board.add(name);
        Desk {
            name,
            desks: desks.clone(),
            tls,
            ending: CancellationToken::new(),
        }
    }

    /// Says that the process ends, to whoever has a copy of this desk.
    pub(super) fn end(&self) {
        self.ending.cancel();
    }

    /// Waits until the process ends: whoever is still completing then has little time left.
    pub(super) async fn ending(&self) {
        self.ending.cancelled().await;
    }

    /// Whether the process ends.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_cancelled()
    }

    /// Reports a sign: it starts a drain, or joins the one under way. To be called once for each
    /// sign, not each time that it is seen.
    pub(super) fn leaving(&self, leaving: Leaving) {
        let Leaving {
            sign,
            left,
            looks_away,
        } = leaving;
        tracing::info!(platform = %self.name, sign, ?left, "the platform wants the process to go");
        let usual = self.desks.windows.now().length;
        self.desks.control.start(drain::Request {
            trigger: drain::Trigger::Platform(self.name),
            part: None,
            window: left.map(|left| left.min(usual)),
            reason: Some(sign),
            looks_away,
        });
    }

    /// Reports that the process stays after all: a drain that this platform started is cancelled,
    /// or, where it is over, the process serves again. Anybody else's drain is left alone.
    pub(super) async fn staying(&self, sign: &str) {
        let ours = {
            let view = self.desks.phase.borrow();
            let drain = view.drain.as_ref();
            drain.is_some_and(|drain| drain.trigger == self.name.label())
        };
        if !ours {
            return;
        }
        match self.desks.control.cancel(None).await {
            Ok(_) => tracing::info!(platform = %self.name, sign, "the process stays"),
            Err(error) => {
                tracing::warn!(platform = %self.name, sign, %error, "the process cannot stay");
            }
        }
    }

    /// What is open at this moment.
    pub(super) fn load(&self) -> Load {
        Load {
            open: self.desks.ledgers.totals().open(),
            holds: self.desks.holds.live(Instant::now()),
        }
    }

    /// The phase, to be watched.
    pub(super) fn phase(&self) -> watch::Receiver<PhaseView> {
        self.desks.phase.clone()
    }

    /// The report of the last drain.
    pub(super) fn report(&self) -> Option<Arc<Report>> {
        self.desks.reports.borrow().clone()
    }

    /// The windows, for what the platform says of them.
    pub(super) fn windows(&self) -> &Windows {
        &self.desks.windows
    }

    /// Calls the platform. What came of it is to be told with [`Desk::went`].
    ///
    /// # Errors
    /// Whatever kept a whole answer from coming within `limit`.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        limit: Duration,
    ) -> Result<Response<Bytes>, Failed> {
        call::send(request, self.tls.as_ref(), limit).await
    }

    /// Counts a call, and says in the log when such calls stop going well or do so again.
    /// The error is a word for the metric, and the whole story; neither holds anything secret.
    pub(super) fn went(&self, call: &'static str, how: Result<(), (&'static str, String)>) {
        let board = &self.desks.board;
        match how {
            Ok(()) => {
                board.called(self.name, call, "ok");
                if board.up(self.name, call) {
                    tracing::info!(platform = %self.name, call, "the platform answers again");
                }
            }
            Err((result, error)) => {
                board.called(self.name, call, result);
                if board.down(self.name, call, &error) {
                    tracing::warn!(platform = %self.name, call, error, "the platform does not answer");
                }
            }
        }
    }

    /// Counts a call that the platform understood and forbids, and says so. To be made no more, it
    /// is nothing that the platform should be blamed for.
    pub(super) fn forbidden(&self, call: &'static str, story: &str) {
        let board = &self.desks.board;
        board.called(self.name, call, "forbidden");
        board.up(self.name, call);
        self.know(call, "forbidden");
        tracing::warn!(platform = %self.name, call, error = story, "the platform forbids a call; it is left");
    }

    /// Counts a call that says nothing of whether the platform answers.
    pub(super) fn count(&self, call: &'static str, result: &'static str) {
        self.desks.board.called(self.name, call, result);
    }

    /// Says that there is nothing to be called for this platform to work.
    pub(super) fn needs_no_call(&self) {
        self.desks.board.up(self.name, "none");
    }

    /// Notes what the platform has said; true if that is news.
    pub(super) fn know(&self, what: &'static str, said: impl Into<String>) -> bool {
        self.desks.board.know(self.name, what, said.into())
    }
}
