//! What the messages of a queue say.

use serde_json::Value;

/// A message, as far as it concerns us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// An instance is being terminated, and the group waits for a hook.
    Terminating(Notice),
    /// A hook was added, and this is to see whether its messages arrive.
    Test,
    /// Another thing that groups say.
    Other,
    /// Nothing that a group says.
    Unknown,
}

/// A lifecycle action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) instance: String,
    pub(super) group: String,
    pub(super) hook: String,
    pub(super) token: Option<String>,
}

/// Reads a message: the hook's own form, and what SNS and EventBridge make of it.
pub(super) fn read(body: &str) -> Message {
    let Ok(value) = serde_json::from_str::<Value>(body) else {
        return Message::Unknown;
    };
    // SNS wraps the message in one of its own, unless it is told to deliver it raw.
    let is_wrapped = value.get("Type").and_then(Value::as_str) == Some("Notification");
    match value.get("Message").and_then(Value::as_str) {
        Some(inner) if is_wrapped => match serde_json::from_str(inner) {
            Ok(inner) => of(&inner),
            Err(_) => of_lines(inner),
        },
        _ => of(&value),
    }
}

fn of(value: &Value) -> Message {
    if value.get("source").and_then(Value::as_str) == Some("aws.autoscaling") {
        let detail = value.get("detail").unwrap_or(&Value::Null);
        return judge(|name| detail.get(name).and_then(Value::as_str));
    }
    judge(|name| value.get(name).and_then(Value::as_str))
}

/// The form for people: `Key: value`, one a line.
fn of_lines(text: &str) -> Message {
    judge(|name| {
        text.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim())
        })
    })
}

fn judge<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Message {
    if field("Event") == Some("autoscaling:TEST_NOTIFICATION") {
        return Message::Test;
    }
    let Some(transition) = field("LifecycleTransition") else {
        return Message::Unknown;
    };
    let owned = |name| {
        field(name)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let notice = || {
        Some(Notice {
            instance: owned("EC2InstanceId")?,
            group: owned("AutoScalingGroupName")?,
            hook: owned("LifecycleHookName")?,
            token: owned("LifecycleActionToken"),
        })
    };
    match notice() {
        Some(notice) if transition == "autoscaling:EC2_INSTANCE_TERMINATING" => {
            Message::Terminating(notice)
        }
        Some(_) => Message::Other,
        None => Message::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flat() -> Value {
        json!({
            "Service": "AWS Auto Scaling", "Time": "2026-11-26T12:00:00Z", "RequestId": "r",
            "LifecycleActionToken": "t", "AccountId": "1", "AutoScalingGroupName": "bots",
            "LifecycleHookName": "drain", "EC2InstanceId": "i-1",
            "LifecycleTransition": "autoscaling:EC2_INSTANCE_TERMINATING", "NotificationMetadata": null,
        })
    }

    fn wrapped(message: &str) -> Value {
        json!({"Type": "Notification", "TopicArn": "arn", "Message": message})
    }

    #[test]
    fn all_forms_say_the_same() {
        let event = json!({"version": "0", "detail-type": "EC2 Instance-terminate Lifecycle Action",
                           "source": "aws.autoscaling", "detail": flat()});
        let lines = "Service: AWS Auto Scaling\nLifecycleActionToken: t\nAutoScalingGroupName: bots\n\
                     LifecycleHookName: drain\nEC2InstanceId: i-1\n\
                     LifecycleTransition: autoscaling:EC2_INSTANCE_TERMINATING\n";
        let expected = Message::Terminating(Notice {
            instance: "i-1".to_owned(),
            group: "bots".to_owned(),
            hook: "drain".to_owned(),
            token: Some("t".to_owned()),
        });
        for body in [
            flat(),
            event.clone(),
            wrapped(&flat().to_string()),
            wrapped(&event.to_string()),
            wrapped(lines),
        ] {
            assert_eq!(read(&body.to_string()), expected, "{body}");
        }
    }

    #[test]
    fn a_test_is_known_as_one() {
        let test = json!({"Service": "AWS Auto Scaling", "Event": "autoscaling:TEST_NOTIFICATION",
                          "AutoScalingGroupARN": "arn", "AutoScalingGroupName": "bots"});
        assert_eq!(read(&test.to_string()), Message::Test);
        assert_eq!(read(&wrapped(&test.to_string()).to_string()), Message::Test);
    }

    #[test]
    fn other_things_are_other_things() {
        let mut launching = flat();
        launching["LifecycleTransition"] = json!("autoscaling:EC2_INSTANCE_LAUNCHING");
        assert_eq!(read(&launching.to_string()), Message::Other);
        let mut nobody = flat();
        nobody["EC2InstanceId"] = json!(7);
        for body in [
            nobody.to_string(),
            "{".to_owned(),
            "[]".to_owned(),
            "\"hello\"".to_owned(),
            String::new(),
        ] {
            assert_eq!(read(&body), Message::Unknown, "{body}");
        }
    }
}
