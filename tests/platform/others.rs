//! The other clouds' machines, from the first sign to the last word.

use std::time::Duration;

use crate::cloud::{Cloud, azure};
use crate::harness::{Proxy, within};
use crate::scene::{Crowd, brisk, follow};

const PUT: &str = "ecs.PUT task-protection/v1/state";

/// A task is protected for as long as it is worth it, and not a moment longer than its drain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ecs_a_task_with_sessions_is_protected_until_they_have_gone() {
    let cloud = Cloud::start();
    let mut crowd = Crowd::new();
    let proxy = brisk(crowd.proxy(), "10s")
        .set("platform.ecs", "poll", "\"1s\"")
        .set("platform.ecs", "protect_when", "\"open > 3\"");
    let proxy = cloud.task(proxy).start().await;
    follow(&cloud, &proxy);
    crowd.joins(&proxy, 3).await;
    cloud.has_seen(2, "ecs.GET metadata/task").await;
    assert!(!cloud.world().look(|world| world.ecs.protected));
    crowd.joins(&proxy, 3).await;
    within(
        20,
        "protection",
        cloud.world().until(|world| world.ecs.protected),
    )
    .await;

    proxy.terminate();
    crowd.left_well().await;
    assert_eq!(proxy.exit_within(30).await.code, Some(0));
    assert!(!cloud.world().look(|world| world.ecs.protected));
    let last = cloud.calls(PUT).pop().expect("a call");
    assert_eq!(last.fields["ProtectionEnabled"], "false");
}

async fn on_azure(cloud: &Cloud, crowd: &mut Crowd) -> Proxy {
    let endpoint = format!("\"http://{}\"", cloud.addr);
    let proxy = brisk(crowd.proxy(), "10s")
        .set("platform.azure", "poll", "\"200ms\"")
        .set("platform.azure", "endpoint", &endpoint)
        .start()
        .await;
    follow(cloud, &proxy);
    crowd.joins(&proxy, 20).await;
    cloud.has_seen(1, "azure.GET scheduledevents").await;
    proxy
}

const ACKNOWLEDGES: &str = "azure.POST scheduledevents";
const NOT_BEFORE: &str = "Mon, 19 Sep 2044 18:29:47 GMT";

/// An event of this machine alone is released when nobody is left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_an_event_is_released_when_the_last_session_has_gone() {
    let cloud = Cloud::start();
    let mut crowd = Crowd::new();
    let _proxy = on_azure(&cloud, &mut crowd).await;
    cloud.world().change(|world| {
        let events = &mut world.azure;
        events.schedule("other", "Terminate", &["agents_9"], NOT_BEFORE);
        events.schedule("own", "Terminate", &[azure::NAME], NOT_BEFORE);
    });
    crowd.left_well().await;
    cloud.has_seen(1, ACKNOWLEDGES).await;
    let released = cloud
        .world()
        .until(|world| !world.azure.released.is_empty());
    within(20, "the release", released).await;
    assert_eq!(
        cloud.world().look(|world| world.azure.released.clone()),
        ["own"]
    );
    cloud.assert_order(&["proxy lame_duck", "proxy closing", ACKNOWLEDGES]);
}

/// A release would be for all machines of the event.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_an_event_of_several_machines_is_not_released() {
    let cloud = Cloud::start();
    let mut crowd = Crowd::new();
    let proxy = on_azure(&cloud, &mut crowd).await;
    cloud.world().change(|world| {
        let both = [azure::NAME, "agents_9"];
        world.azure.schedule("both", "Terminate", &both, NOT_BEFORE);
    });
    crowd.left_well().await;
    proxy.phase("drained").await;
    proxy.terminate();
    assert_eq!(proxy.exit_within(30).await.code, Some(0));
    assert!(cloud.calls(ACKNOWLEDGES).is_empty());
}

/// The long poll is answered at the very moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gcp_a_preempted_machine_is_drained_at_once() {
    let cloud = Cloud::start();
    let mut crowd = Crowd::new();
    let endpoint = format!("\"http://{}\"", cloud.addr);
    let proxy = brisk(crowd.proxy(), "10s")
        .set("platform.gcp", "endpoint", &endpoint)
        .start()
        .await;
    follow(&cloud, &proxy);
    crowd.joins(&proxy, 20).await;
    cloud.has_seen(1, "gcp.instance/preempted").await;
    cloud
        .world()
        .change(|world| world.gcp.preempted = "TRUE".to_owned());
    cloud.world().happened("preempted");
    crowd.left_well().await;
    cloud.has_seen(1, "proxy drained").await;
    cloud.assert_order(&[
        "preempted",
        "proxy lame_duck",
        "proxy closing",
        "proxy drained",
    ]);
    let late = cloud.when("proxy lame_duck") - cloud.when("preempted");
    println!("the drain began {late:.3?} after the notice");
    assert!(
        late <= crate::harness::patience(Duration::from_secs(3)),
        "{late:?}"
    );
}
