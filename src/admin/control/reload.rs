//! `POST /v1/reload`: the way to whoever reads the configuration anew, and what came of it.

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::config::Finding;

use super::Control;
use super::body::{self, Body};
use super::problem::Problem;

/// What a reload has changed: names, in the order of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Listeners that are new.
    pub added: Vec<String>,
    /// Listeners whose settings are others now, for the sessions that come.
    pub changed: Vec<String>,
    /// Listeners that take no more sessions; theirs are asked to go.
    pub removed: Vec<String>,
    /// Upstreams that are new, or whose settings are others now.
    pub upstreams: Vec<String>,
    /// Tables of the whole process whose values are others now.
    pub settings: Vec<String>,
    /// What is legal but dangerous, as `check` says it.
    pub warnings: Vec<String>,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum NotReloaded {
    /// The configuration is wrong, or cannot take the place of the one that holds.
    #[error("the configuration is refused, and the one that held still holds")]
    Refused(Vec<Finding>),
    /// The process is going.
    #[error("a drain is under way, or over: a process that goes takes no new configuration")]
    Draining,
    /// It was started without anything that could be read again.
    #[error("there is no configuration that could be read again")]
    Nothing,
}

/// Where the answer goes.
pub type Reply = oneshot::Sender<Result<Reloaded, NotReloaded>>;

/// The way to whoever reads the configuration anew.
#[derive(Clone, Debug)]
pub struct Reloads(mpsc::UnboundedSender<Reply>);

impl Reloads {
    /// The way, and its end.
    pub fn channel() -> (Reloads, mpsc::UnboundedReceiver<Reply>) {
        let (ask, asked) = mpsc::unbounded_channel();
        (Reloads(ask), asked)
    }

    /// Has the configuration read anew, and says what came of it.
    ///
    /// # Errors
    /// When nothing was changed: all of it holds, or none.
    pub async fn reload(&self) -> Result<Reloaded, NotReloaded> {
        let (reply, answer) = oneshot::channel();
        // Whoever would hear has gone only when the process is ending.
        let _ = self.0.send(reply);
        answer.await.unwrap_or(Err(NotReloaded::Draining))
    }
}

impl Control {
    pub(super) async fn reload(&self) -> Result<Response<Body>, Problem> {
        match self.reloads.reload().await {
            Ok(reloaded) => Ok(body::json(StatusCode::OK, &reloaded)),
            Err(why) => {
                let words = why.to_string();
                match why {
                    NotReloaded::Refused(findings) => {
                        Ok(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, words).with(&findings))
                    }
                    _ => Err(Problem::conflict(words)),
                }
            }
        }
    }
}
