//! A connection to the agent, driven by whoever uses it: within the client's own task, so that an
//! answer wakes one task and not two. While nobody uses it, it is looked at a few times a second.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio::sync::oneshot;

use crate::net::Tasks;

/// hyper's side of a connection, which has to be polled for anything to come or go.
pub(super) struct Link {
    /// None when it has ended; how it did is told to whoever waits for a response on it.
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>>>>>,
    /// Where it is driven by a task of its own, which ends with this.
    alone: Option<oneshot::Sender<()>>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Wakes the task that uses the connection, unless that task is at it.
struct Bell {
    user: AtomicWaker,
    quiet: AtomicBool,
    rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        match self.quiet.load(Ordering::Relaxed) {
            true => self.rung.store(true, Ordering::Relaxed),
            false => self.user.wake(),
        }
    }
}

impl Link {
    /// A link that nobody uses yet.
    pub(super) fn new(connection: impl Future<Output = hyper::Result<()>> + 'static) -> Link {
        let bell = Arc::new(Bell {
            user: AtomicWaker::new(),
            quiet: AtomicBool::new(true),
            rung: AtomicBool::new(false),
        });
        Link {
            connection: Some(Box::pin(connection)),
            alone: None,
            waker: Waker::from(Arc::clone(&bell)),
            bell,
        }
    }

    /// Has the connection go on as far as it can, for the task of `cx`, which is woken when it can
    /// go further.
    pub(super) fn drive(&mut self, cx: &Context<'_>) {
        self.bell.user.register(cx.waker());
        self.go_on();
        self.bell.quiet.store(false, Ordering::Relaxed);
        // It yields, or something it uses does.
        if self.bell.rung.load(Ordering::Relaxed) && self.connection.is_some() {
            cx.waker().wake_by_ref();
        }
    }

    /// Has the connection go on by itself, where its user may wait for something else.
    pub(super) fn go_alone(&mut self, tasks: &Tasks) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        let (held, dropped) = oneshot::channel::<()>();
        self.alone = Some(held);
        tasks.spawn(async move {
            tokio::select! {
                biased;
                _ = connection => {}
                _ = dropped => {}
            }
        });
    }

    /// Whether it goes on by itself.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.is_some()
    }

    /// Lets the user do something by which the connection may be rung, and tells whether it was: it
    /// has to be driven once more then, before the user waits.
    pub(super) fn quietly<T>(&self, act: impl FnOnce(&mut Context<'_>) -> T) -> (T, bool) {
        self.bell.quiet.store(true, Ordering::Relaxed);
        self.bell.rung.store(false, Ordering::Relaxed);
        let result = act(&mut Context::from_waker(Waker::noop()));
        self.bell.quiet.store(false, Ordering::Relaxed);
        (result, self.bell.rung.load(Ordering::Relaxed))
    }

    /// Has the connection wait for its next user; where it `looks`, what has come meanwhile is
    /// noticed, which may be its end.
    pub(super) fn rest(&mut self, looks: bool) {
        self.bell.quiet.store(true, Ordering::Relaxed);
        if looks {
            self.go_on();
        }
    }

    fn go_on(&mut self) {
        self.bell.quiet.store(true, Ordering::Relaxed);
        self.bell.rung.store(false, Ordering::Relaxed);
        let mut cx = Context::from_waker(&self.waker);
        if let Some(connection) = &mut self.connection
            && let Poll::Ready(_) = connection.as_mut().poll(&mut cx)
        {
            self.connection = None;
        }
    }
}
