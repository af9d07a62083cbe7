//! The handle by which everybody else speaks to the drain.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::config::PlatformName;
use crate::session::{Part, PhaseView};

/// What started a drain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A signal: the process ends when the drain is over.
    Signal,
    /// The admin API: the process stays, drained.
    Api,
    /// A reload that names a listener no more: likewise.
    Reload,
    /// A platform's notice: likewise.
    Platform(PlatformName),
}

impl Trigger {
    /// The value of the metric label.
    pub fn label(self) -> &'static str {
        match self {
            Trigger::Signal => "signal",
            Trigger::Api => "api",
            Trigger::Reload => "reload",
            Trigger::Platform(name) => name.label(),
        }
    }

    /// Whether the process ends with a drain that this started.
    pub fn ends_the_process(self) -> bool {
        self == Trigger::Signal
    }
}

/// A wish to drain.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where it comes from.
    pub trigger: Trigger,
    /// What is to be drained, if not everything.
    pub part: Option<Part>,
    /// The window; without one, the configured.
    pub window: Option<Duration>,
    /// Why, in words, for the log and the report.
    pub reason: Option<String>,
    /// Whether the balancer is known to look away already, so that readiness need not fail.
    pub looks_away: bool,
}

/// What came of a wish.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A drain has begun.
    Started(PhaseView),
    /// One was under way; its deadline is now the earlier of the two.
    UnderWay(PhaseView),
    /// The process serves again.
    Cancelled(PhaseView),
}

/// Why a wish was not granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The window of the running drain is shorter, and a drain is never lengthened.
    #[error("a drain with a shorter window is under way; it can only be shortened")]
    Longer,
    /// Another drain is under way, which this one cannot join.
    #[error("another drain is under way; wait for its end, or cancel it")]
    Another,
    /// Sessions are being asked to go already, or there is no drain.
    #[error("there is no drain that could still be cancelled")]
    NothingToCancel,
    /// The process is going.
    #[error("the process is ending")]
    Gone,
}

/// Where the answer to a wish goes.
pub(super) type Reply = oneshot::Sender<Result<Answer, Refused>>;

/// A message to the drain's loop.
#[derive(Debug)]
pub(super) enum Wish {
    Start(Request, Reply),
    Cancel(Option<Part>, Reply),
    CutNow,
}

/// Speaks to the drain from anywhere.
#[derive(Clone, Debug)]
pub struct Control(mpsc::UnboundedSender<Wish>);

/// The other end of [`Control`].
pub struct Wishes(pub(super) mpsc::UnboundedReceiver<Wish>);

/// A handle, and what hears it.
pub fn channel() -> (Control, Wishes) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Control(sender), Wishes(receiver))
}

impl Control {
    /// Starts a drain, or shortens the one under way, without waiting for what comes of it.
    pub fn start(&self, request: Request) {
        let (reply, _) = oneshot::channel();
        // A process that is gone has nothing to drain.
        let _ = self.0.send(Wish::Start(request, reply));
    }

    /// Starts a drain, or shortens the one under way. A drain of everything takes the place of one
    /// of a part.
    ///
    /// # Errors
    /// [`Refused::Longer`] when the one under way has a shorter window; [`Refused::Another`] for a
    /// part while something else is drained; [`Refused::Gone`].
    pub async fn ask(&self, request: Request) -> Result<Answer, Refused> {
        let (reply, answer) = oneshot::channel();
        self.0
            .send(Wish::Start(request, reply))
            .map_err(|_| Refused::Gone)?;
        answer.await.unwrap_or(Err(Refused::Gone))
    }

    /// Cancels a drain that has not begun to close, or brings back what is drained: the process, or
    /// a part of it. That of a share can be cancelled at any time: who was asked goes.
    ///
    /// # Errors
    /// [`Refused::NothingToCancel`] from `closing` on and without a drain; [`Refused::Gone`].
    pub async fn cancel(&self, part: Option<Part>) -> Result<Answer, Refused> {
        let (reply, answer) = oneshot::channel();
        self.0
            .send(Wish::Cancel(part, reply))
            .map_err(|_| Refused::Gone)?;
        answer.await.unwrap_or(Err(Refused::Gone))
    }

    /// Ends the process at once, cutting what is open.
    pub fn cut_now(&self) {
        let _ = self.0.send(Wish::CutNow);
    }
}
