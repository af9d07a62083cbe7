//! What AWS is asked for and by which names.

use std::net::IpAddr;
use std::time::Duration;

use toml::de::DeValue;

use super::choice::word;
use super::number::integer;
use super::{Show, Wrong, kind, positive_duration, string};
use crate::config::keys::Default;
use crate::config::types::{OnRebalance, TargetGroup};

/// Oftener than this nothing is asked: the metadata service is everybody's on the machine, and the
/// API that of the whole account.
const SHORTEST: Duration = Duration::from_secs(1);

/// As long as the names of groups and hooks may be (API CompleteLifecycleAction).
const LONGEST_NAME: usize = 255;

const ARN: &str =
    "\"arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/agents/0123456789abcdef\"";

/// What is done with a recommendation.
pub(in crate::config) fn on_rebalance(value: &DeValue<'_>) -> Result<OnRebalance, Wrong> {
    word(value)
}

fn at_least_a_second(value: &DeValue<'_>, example: &str) -> Result<Duration, Wrong> {
    let length = positive_duration(value)?;
    if length < SHORTEST {
        return Err(Wrong::new(
            format!("{} is too often", length.show()),
            format!("write \"1s\" or more, such as {example}"),
        ));
    }
    Ok(length)
}

/// Between two looks at the metadata.
pub(in crate::config) fn poll(value: &DeValue<'_>) -> Result<Duration, Wrong> {
    at_least_a_second(value, "\"5s\"")
}

/// Between two looks at what the API describes.
pub(in crate::config) fn describe_poll(value: &DeValue<'_>) -> Result<Duration, Wrong> {
    at_least_a_second(value, "\"15s\"")
}

/// The target groups that the instance is in.
pub(in crate::config) fn target_groups(value: &DeValue<'_>) -> Result<Vec<TargetGroup>, Wrong> {
    let group = |item: &DeValue<'_>| {
        let text = string(item, "the ARN of a target group", ARN)?;
        TargetGroup::of_arn(text).ok_or_else(|| {
            let what = format!("`{text}` is not the ARN of a target group");
            Wrong::new(what, format!("write it whole, such as {ARN}"))
        })
    };
    match value {
        DeValue::Array(items) => items.iter().map(|item| group(item.get_ref())).collect(),
        other => {
            let what = format!("expected a list, found {}", kind(other));
            Err(Wrong::new(what, format!("write [{ARN}]")))
        }
    }
}

/// The address by which the target groups know the instance.
pub(in crate::config) fn target_ip(value: &DeValue<'_>) -> Result<Option<IpAddr>, Wrong> {
    let text = string(value, "an address", "such as \"10.0.3.7\"")?;
    text.parse().map(Some).map_err(|_| {
        let what = format!("`{text}` is not an IP address");
        Wrong::new(what, "write one, such as \"10.0.3.7\"")
    })
}

/// The port by which the target groups know the instance.
pub(in crate::config) fn target_port(value: &DeValue<'_>) -> Result<Option<u16>, Wrong> {
    integer(value, 1..=u16::MAX).map(Some)
}

/// The URL of a queue.
pub(in crate::config) fn queue_url(value: &DeValue<'_>) -> Result<Option<String>, Wrong> {
    const EXAMPLE: &str = "\"https://sqs.eu-west-1.amazonaws.com/123456789012/leaving\"";
    let text = string(value, "the URL of a queue", EXAMPLE)?;
    let wrong = |what: &str| Wrong::new(format!("`{text}` {what}"), format!("write {EXAMPLE}"));
    let rest = ["https://", "http://"]
        .into_iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let path = rest.and_then(|rest| rest.split_once('/'));
    match path {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => {}
        _ => return Err(wrong("is not the URL of a queue")),
    }
    if text.ends_with(".fifo") {
        return Err(wrong("is a FIFO queue, and hooks send to none"));
    }
    Ok(Some(text.to_owned()))
}

fn name(value: &DeValue<'_>, what: &str, example: &str) -> Result<String, Wrong> {
    let text = string(value, what, example)?;
    if text.is_empty() || text.chars().count() > LONGEST_NAME {
        return Err(Wrong::new(
            format!("{what} has 1 to {LONGEST_NAME} characters"),
            format!("write {example}"),
        ));
    }
    Ok(text.to_owned())
}

/// The name of an Auto Scaling group.
pub(in crate::config) fn group_name(value: &DeValue<'_>) -> Result<Option<String>, Wrong> {
    name(value, "the name of a group", "such as \"agents\"").map(Some)
}

/// The names of lifecycle hooks; one may stand without brackets.
pub(in crate::config) fn hook_names(value: &DeValue<'_>) -> Result<Vec<String>, Wrong> {
    let one = |item: &DeValue<'_>| name(item, "the name of a hook", "such as \"drain\"");
    match value {
        DeValue::Array(items) => items.iter().map(|item| one(item.get_ref())).collect(),
        other => Ok(vec![one(other)?]),
    }
}

impl Show for Vec<TargetGroup> {
    fn show(&self) -> String {
        let arns: Vec<_> = self
            .iter()
            .map(|group| format!("{:?}", group.arn()))
            .collect();
        format!("[{}]", arns.join(", "))
    }
}

impl Show for Vec<String> {
    fn show(&self) -> String {
        format!("{self:?}")
    }

    fn as_default(&self) -> Default {
        if self.is_empty() {
            Default::Said("those of the group")
        } else {
            Default::Is(self.show())
        }
    }
}

impl Show for Option<IpAddr> {
    fn show(&self) -> String {
        self.map(|ip| format!("\"{ip}\"")).unwrap_or_default()
    }

    fn as_default(&self) -> Default {
        match self {
            Some(_) => Default::Is(self.show()),
            None => Default::Said("the instance's id"),
        }
    }
}

impl Show for Option<u16> {
    fn show(&self) -> String {
        self.map(|port| port.to_string()).unwrap_or_default()
    }

    fn as_default(&self) -> Default {
        match self {
            Some(_) => Default::Is(self.show()),
            None => Default::Said("that of the target group"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::tests::{refused, taken};

    #[test]
    fn a_target_group_is_written_as_its_arn() {
        let groups = taken(&format!("[{ARN}]"), target_groups);
        assert_eq!(groups[0].name(), "agents");
        assert_eq!(groups.show(), format!("[{ARN}]"));
        assert_eq!(taken("[]", target_groups), []);
        let not_one = "is not the ARN of a target group";
        for text in [
            "[\"agents\"]",
            "[\"arn:aws:elasticloadbalancing:eu-west-1:1:loadbalancer/app/x/1\"]",
            "[\"arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/agents\"]",
        ] {
            refused(text, target_groups, not_one, "targetgroup/agents/");
        }
        refused(
            ARN,
            target_groups,
            "expected a list, found a string",
            "[\"arn:",
        );
    }

    #[test]
    fn nothing_is_asked_oftener_than_each_second() {
        assert_eq!(taken("\"1s\"", poll), SHORTEST);
        refused("\"999ms\"", poll, "too often", "\"5s\"");
        refused("\"0s\"", describe_poll, "longer than zero", "\"30s\"");
    }

    #[test]
    fn a_queue_is_written_as_its_url() {
        let url = "\"https://sqs.eu-west-1.amazonaws.com/123456789012/leaving\"";
        assert!(taken(url, queue_url).is_some());
        for text in [
            "\"leaving\"",
            "\"https://sqs\"",
            "\"arn:aws:sqs:eu-west-1:1:leaving\"",
        ] {
            refused(text, queue_url, "is not the URL of a queue", "https://sqs.");
        }
        refused(
            "\"https://sqs/1/a.fifo\"",
            queue_url,
            "FIFO",
            "https://sqs.",
        );
    }

    #[test]
    fn a_hook_may_stand_alone_or_among_others() {
        assert_eq!(taken("\"a\"", hook_names), ["a"]);
        assert_eq!(taken("[\"a\", \"b\"]", hook_names), ["a", "b"]);
        refused("[\"\"]", hook_names, "1 to 255 characters", "\"drain\"");
        refused("7", hook_names, "the name of a hook", "\"drain\"");
    }

    #[test]
    fn a_target_has_an_address_and_a_port() {
        assert_eq!(taken("\"10.0.0.1\"", target_ip).show(), "\"10.0.0.1\"");
        refused("\"host\"", target_ip, "not an IP address", "10.0.3.7");
        assert_eq!(taken("8080", target_port), Some(8080));
        refused("0", target_port, "out of range", "from 1 to 65535");
    }
}
