//! The calls of the queue, in its JSON protocol.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::{Api, Body, Call};
use super::environment::Service;
use super::fault::Fault;

/// As long as the queue may wait for a message, and a little more for the way.
const WAIT: u64 = 20;
const LIMIT: Duration = Duration::from_secs(WAIT + 5);

/// A message in our hands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Received {
    /// What it is deleted and given back by.
    pub(super) receipt: String,
    pub(super) body: String,
}

async fn call(
    api: &Api,
    name: &'static str,
    operation: &'static str,
    value: Value,
    limit: Option<Duration>,
) -> Result<Value, Fault> {
    let call = Call {
        service: Service::Queue,
        name,
        body: Body::Json(operation, value),
        limit,
    };
    let answer = api.call(&call).await?;
    if answer.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&answer).map_err(|_| Fault::Unclear("JSON in it"))
}

/// Waits for messages; there may be none.
pub(super) async fn receive(api: &Api, queue: &str) -> Result<Vec<Received>, Fault> {
    let wanted = json!({
        "QueueUrl": queue,
        "MaxNumberOfMessages": 10,
        "WaitTimeSeconds": WAIT,
    });
    let answer = call(
        api,
        "ReceiveMessage",
        "AmazonSQS.ReceiveMessage",
        wanted,
        Some(LIMIT),
    );
    Ok(received(&answer.await?))
}

fn received(answer: &Value) -> Vec<Received> {
    let messages = answer.get("Messages").and_then(Value::as_array);
    let message = |message: &Value| {
        let text = |name| message.get(name)?.as_str().map(str::to_owned);
        Some(Received {
            receipt: text("ReceiptHandle")?,
            body: text("Body")?,
        })
    };
    messages.into_iter().flatten().filter_map(message).collect()
}

/// Deletes a message.
pub(super) async fn delete(api: &Api, queue: &str, receipt: &str) -> Result<(), Fault> {
    let which = json!({ "QueueUrl": queue, "ReceiptHandle": receipt });
    let answer = call(api, "DeleteMessage", "AmazonSQS.DeleteMessage", which, None);
    answer.await.map(|_| ())
}

/// Gives a message back, for another to receive at once.
pub(super) async fn give_back(api: &Api, queue: &str, receipt: &str) -> Result<(), Fault> {
    let which = json!({ "QueueUrl": queue, "ReceiptHandle": receipt, "VisibilityTimeout": 0 });
    let name = "ChangeMessageVisibility";
    let answer = call(api, name, "AmazonSQS.ChangeMessageVisibility", which, None);
    answer.await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_messages_or_none() {
        let answer = json!({"Messages": [{"MessageId": "m", "ReceiptHandle": "r", "Body": "b"}, {"Body": "no handle"}]});
        let (receipt, body) = ("r".to_owned(), "b".to_owned());
        assert_eq!(received(&answer), [Received { receipt, body }]);
        assert_eq!(received(&json!({})), []);
        assert_eq!(received(&Value::Null), []);
    }
}
