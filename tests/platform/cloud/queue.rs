//! Queues, by their JSON protocol.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{Answer, Ask, unknown};
use super::{Cloud, Shared, World};

/// A queue.
#[derive(Default)]
pub struct Queue {
    /// What is in it, also what nobody can see just now.
    pub messages: Vec<Message>,
    sent: usize,
}

/// A message in a queue.
#[derive(Clone)]
pub struct Message {
    pub body: String,
    /// How often it was received.
    pub receives: usize,
    id: String,
    receipt: String,
    visible: Instant,
}

impl Queue {
    /// Puts a message in.
    pub fn send(&mut self, body: &Value) {
        self.send_text(body.to_string());
    }

    /// Puts a message in that may be no JSON.
    pub fn send_text(&mut self, body: String) {
        self.sent += 1;
        self.messages.push(Message {
            body,
            receives: 0,
            id: format!("message-{}", self.sent),
            receipt: String::new(),
            visible: Instant::now(),
        });
    }

    fn take(&mut self, most: usize, hidden: Duration) -> Vec<Value> {
        let now = Instant::now();
        let visible = self.messages.iter_mut().filter(|m| m.visible <= now);
        let take = |message: &mut Message| {
            message.receives += 1;
            message.visible = now + hidden;
            message.receipt = format!("{}-{}", message.id, message.receives);
            json!({
                "MessageId": message.id,
                "ReceiptHandle": message.receipt,
                "Body": message.body,
            })
        };
        visible.take(most).map(take).collect()
    }

    fn held(&mut self, receipt: &str) -> Option<usize> {
        self.messages.iter().position(|m| m.receipt == receipt)
    }
}

impl Cloud {
    /// Makes an empty queue; gives its URL.
    pub fn queue(&self, name: &str) -> String {
        let path = format!("/123456789012/{name}");
        self.world()
            .change(|world| world.queues.insert(path.clone(), Queue::default()));
        format!("http://{}{path}", self.addr)
    }

    /// Does something with a queue.
    pub fn in_queue<T>(&self, name: &str, act: impl FnOnce(&mut Queue) -> T) -> T {
        self.world()
            .change(|world| act(world.queue_named(name).expect("a queue of this name")))
    }
}

impl World {
    /// The queue of this name.
    pub fn queue_named(&mut self, name: &str) -> Option<&mut Queue> {
        let path = format!("/123456789012/{name}");
        self.queues.get_mut(&path)
    }

    fn queue_of(&mut self, ask: &Ask) -> Option<&mut Queue> {
        let url = ask.field("QueueUrl");
        let name = url.rsplit('/').next()?;
        self.queue_named(name)
    }
}

/// Answers a call.
pub async fn answer(world: &Shared, ask: &Ask) -> Answer {
    if ask.header("content-type") != Some("application/x-amz-json-1.0") {
        let kind = ask.header("content-type");
        let what = format!("sqs.{}: the content type {kind:?}", ask.action);
        world.change(|world| world.complaints.push(what));
    }
    if world.change(|world| world.queue_of(ask).is_none()) {
        return Answer::json_error(400, "com.amazonaws.sqs#QueueDoesNotExist");
    }
    match ask.action.as_str() {
        "ReceiveMessage" => receive(world, ask).await,
        "DeleteMessage" => with_held(world, ask, |queue, held| {
            queue.messages.remove(held);
        }),
        "ChangeMessageVisibility" => with_held(world, ask, |queue, held| {
            let hidden = number(ask, "VisibilityTimeout").unwrap_or(30);
            queue.messages[held].visible = Instant::now() + Duration::from_secs(hidden);
        }),
        _ => world.change(|world| unknown(world, ask)),
    }
}

fn number(ask: &Ask, name: &str) -> Option<u64> {
    ask.fields.get(name)?.parse().ok()
}

async fn receive(world: &Shared, ask: &Ask) -> Answer {
    let most = number(ask, "MaxNumberOfMessages").unwrap_or(1);
    let wait = number(ask, "WaitTimeSeconds").unwrap_or(0);
    if !(1..=10).contains(&most) || wait > 20 {
        let what = format!("sqs.ReceiveMessage: {most} messages, {wait} s");
        world.change(|world| world.complaints.push(what));
    }
    let hidden = Duration::from_secs(number(ask, "VisibilityTimeout").unwrap_or(30));
    let deadline = Instant::now() + Duration::from_secs(wait);
    loop {
        // What is hidden comes back by time alone, so the queue is looked at again and again.
        let taken = world.change(|world| {
            let queue = world.queue_of(ask).expect("looked up before");
            queue.take(most as usize, hidden)
        });
        if !taken.is_empty() {
            return Answer::json(json!({ "Messages": taken }).to_string());
        }
        if Instant::now() >= deadline {
            return Answer::json("{}".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn with_held(world: &Shared, ask: &Ask, act: impl FnOnce(&mut Queue, usize)) -> Answer {
    world.change(|world| {
        let queue = world.queue_of(ask).expect("looked up before");
        match queue.held(ask.field("ReceiptHandle")) {
            Some(held) => act(queue, held),
            // A message that is gone already can be deleted once more.
            None if ask.action == "DeleteMessage" => {}
            None => return Answer::json_error(400, "com.amazonaws.sqs#MessageNotInflight"),
        }
        Answer::json("{}".to_owned())
    })
}
