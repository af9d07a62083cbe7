//! How a task of ECS is set: its definition, and the target groups of its service.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::config::TargetGroup;
use crate::lifecycle::aws::api::{Api, Body, Call};
use crate::lifecycle::aws::environment::Service;
use crate::lifecycle::call::send;
use crate::lifecycle::settings::{self, Task};

use super::balancers;

/// Where the container's metadata are, and below it those of its task.
const METADATA: &str = "ECS_CONTAINER_METADATA_URI_V4";

/// The metadata come from the same machine.
const LIMIT: Duration = Duration::from_secs(2);

/// Asks for the definition of the task that this is, by the name of the container that this is.
///
/// # Errors
/// What kept the definition from being read.
pub(in crate::lifecycle) async fn ask() -> Result<(Task, String, Vec<settings::TargetGroup>), String>
{
    let base =
        std::env::var(METADATA).map_err(|_| format!("{METADATA} is not set: this is no task"))?;
    let container = metadata(&base).await?;
    let task = metadata(&format!("{base}/task")).await?;
    let of = |document: &Value, key: &str| {
        let text = document[key].as_str().map(str::to_owned);
        text.ok_or_else(|| format!("the metadata say no {key}"))
    };
    let own = of(&container, "Name")?;
    let revision = format!("{}:{}", of(&task, "Family")?, of(&task, "Revision")?);

    let api = super::api();
    let asked = json!({"taskDefinition": revision});
    let answer = call(&api, "DescribeTaskDefinition", asked).await?;
    let definition = Task::of(&answer["taskDefinition"]);
    let definition = definition.ok_or("what came is no task definition")?;
    // A task that no service started has no target groups.
    let Ok(service) = of(&task, "ServiceName") else {
        return Ok((definition, own, Vec::new()));
    };
    let asked = json!({"cluster": of(&task, "Cluster")?, "services": [service]});
    let answer = call(&api, "DescribeServices", asked).await?;
    let balanced = answer
        .pointer("/services/0/loadBalancers")
        .and_then(Value::as_array);
    let arns = balanced.into_iter().flatten();
    let arns = arns.filter_map(|one| TargetGroup::of_arn(one["targetGroupArn"].as_str()?));
    let groups: Vec<_> = arns.collect();
    let targets = balancers::targets(&api, &groups)
        .await
        .map_err(|fault| fault.to_string())?;
    Ok((definition, own, targets))
}

async fn metadata(url: &str) -> Result<Value, String> {
    let mut request = Request::new(Bytes::new());
    *request.uri_mut() = url
        .parse()
        .map_err(|error| format!("{METADATA}: {error}"))?;
    let answer = send(request, None, LIMIT).await;
    let answer = answer.map_err(|error| format!("the metadata: {error}"))?;
    serde_json::from_slice(answer.body()).map_err(|error| format!("the metadata: {error}"))
}

async fn call(api: &Api, name: &'static str, body: Value) -> Result<Value, String> {
    let operation = match name {
        "DescribeServices" => "AmazonEC2ContainerServiceV20141113.DescribeServices",
        _ => "AmazonEC2ContainerServiceV20141113.DescribeTaskDefinition",
    };
    let call = Call {
        service: Service::Containers,
        name,
        body: Body::Json(operation, body),
        limit: None,
    };
    let answer = api.call(&call).await;
    let answer = answer.map_err(|fault| format!("{name}: {fault}"))?;
    serde_json::from_slice(&answer).map_err(|error| format!("{name}: {error}"))
}
