//! The signs in a queue of lifecycle notices, which the whole group may share.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::lifecycle::aws::cloud::Cloud;
use crate::lifecycle::aws::fault::Fault;
use crate::lifecycle::aws::message::{self, Message, Notice};
use crate::lifecycle::aws::queue::{self, Received};
use crate::lifecycle::backoff::Backoff;
use crate::lifecycle::desk::{Desk, Leaving};
use crate::lifecycle::platform::{Doing, Trigger};

/// While calls fail.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// After messages for others: what was given back should meet somebody else.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// Receives messages.
pub(in crate::lifecycle::aws) struct Queue {
    pub(in crate::lifecycle::aws) cloud: Arc<Cloud>,
    pub(in crate::lifecycle::aws) url: String,
}

/// Whose a message was.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    Others,
    Nobodys,
}

impl Trigger for Queue {
    fn watch(self: Box<Self>, desk: Desk) -> Doing<'static> {
        Box::pin(async move { self.receive(&desk).await })
    }
}

impl Queue {
    async fn receive(&self, desk: &Desk) {
        let mut backoff = Backoff::new(FIRST, LONGEST);
        let mut pause = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut unknown: u64 = 0;
        loop {
            let Some(instance) = self.cloud.instance().await else {
                sleep(backoff.next()).await;
                continue;
            };
            let Ok(messages) = queue::receive(&self.cloud.api, &self.url).await else {
                sleep(backoff.next()).await;
                continue;
            };
            backoff.reset();
            let mut for_others = false;
            for message in messages {
                let whose = self.take(desk, instance, &message);
                for_others |= whose == Whose::Others;
                if whose == Whose::Nobodys {
                    unknown += 1;
                    desk.know("messages_not_understood", unknown.to_string());
                }
                // A message that could not be deleted or given back is received again, by whomever.
                let _ = self.settle(&message, whose).await;
            }
            if for_others {
                sleep(pause.next()).await;
            } else {
                pause.reset();
            }
        }
    }

    fn take(&self, desk: &Desk, instance: &str, message: &Received) -> Whose {
        match message::read(&message.body) {
            Message::Terminating(notice) if notice.instance == instance => {
                self.heard(desk, &notice);
                Whose::Ours
            }
            Message::Test => Whose::Ours,
            Message::Terminating(_) | Message::Other => Whose::Others,
            Message::Unknown => Whose::Nobodys,
        }
    }

    fn heard(&self, desk: &Desk, notice: &Notice) {
        let is_news = self.cloud.note(|known| known.heard(notice, Instant::now()));
        if is_news {
            desk.leaving(Leaving {
                sign: format!("message of hook {}", notice.hook),
                left: None,
                // Where a group has a balancer it has waited for it by now, but it may have none.
                looks_away: false,
            });
        }
    }

    async fn settle(&self, message: &Received, whose: Whose) -> Result<(), Fault> {
        let (api, url) = (&self.cloud.api, &self.url);
        match whose {
            Whose::Ours => queue::delete(api, url, &message.receipt).await,
            Whose::Others => queue::give_back(api, url, &message.receipt).await,
            // Left as it is: whoever understands it will have it when it is visible again.
            Whose::Nobodys => Ok(()),
        }
    }
}
