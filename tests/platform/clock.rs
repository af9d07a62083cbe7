//! The machine's clock goes back in the middle of it all. Time stands in the process's own hands here,
//! by libfaketime, as a clock of ours would prove nothing about the calls that ask the system.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::cloud::scale_in::{ScaleIn, Tells};
use crate::cloud::{Cloud, OWN};
use crate::harness::patience;
use crate::scene::{Crowd, assert_prompt, brisk, delivered, follow, on_aws, outcome};
use crate::scene::{with_hook, with_targets};

/// Where the library is, by what packages call the machine.
const LIBRARIES: [&str; 2] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1",
];
const COMPLETE: &str = "autoscaling.CompleteLifecycleAction";

/// The clock of a process that is started with it.
struct Clock {
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Clock {
    fn new() -> Clock {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock {
            file: dir.path().join("offset"),
            _dir: dir,
        };
        clock.set("+0");
        clock
    }

    /// Sets it so far from the machine's.
    fn set(&self, offset: &str) {
        let fresh = self.file.with_extension("new");
        std::fs::write(&fresh, format!("{offset}\n")).unwrap();
        std::fs::rename(fresh, &self.file).unwrap();
    }
}

/// The library; where there is none, says that `test` is left out.
fn library_for(test: &str) -> Option<&'static str> {
    let found = LIBRARIES.into_iter().find(|path| Path::new(path).exists());
    if found.is_none() {
        eprintln!("LEFT OUT: {test} needs libfaketime (Debian: apt-get install libfaketime)");
    }
    found
}

/// A scale-in in which the clock goes by `offset` while sessions go.
async fn scale_in_while_the_clock_goes(test: &str, offset: &str) {
    let Some(library) = library_for(test) else {
        return;
    };
    let clock = Clock::new();
    let cloud = Cloud::start();
    with_targets(&cloud, 60);
    with_hook(&cloud, 30);
    let mut crowd = Crowd::new();
    let builder = on_aws(&cloud, brisk(crowd.proxy(), "10s"))
        .environment("LD_PRELOAD", library)
        .environment("FAKETIME_TIMESTAMP_FILE", clock.file.to_str().unwrap())
        .environment("FAKETIME_NO_CACHE", "1")
        .environment("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let proxy = builder.start().await;
    follow(&cloud, &proxy);
    crowd.joins(&proxy, 20).await;
    let how = ScaleIn {
        metadata: Tells::AtOnce,
        deregisters: true,
    };
    let gone = cloud.scale_in(OWN, how);
    cloud.has_seen(1, "proxy lame_duck").await;
    clock.set(offset);
    crowd.left_well().await;
    cloud.empties(OWN);
    assert_eq!(outcome(gone, 60).await, "CONTINUE");
    proxy.phase("drained").await;
    proxy.terminate();
    assert_eq!(proxy.exit_within(60).await.code, Some(0));
    assert_eq!(cloud.good_calls(COMPLETE).len(), 1);
    let state = "imds.meta-data/autoscaling/target-lifecycle-state";
    assert_prompt(&cloud, delivered(&cloud, state, "Terminated"));
    // The clock did go: the first call after that was refused, and the next signed by the cloud's.
    let events = proxy.log.events();
    let noticed = "the clock is off; calls are signed by the cloud's";
    assert!(events.iter().any(|event| event.message == noticed));
    let report = proxy.report();
    let at = |key: &str| report[key].as_f64().unwrap();
    let length = at("ended") - at("started");
    let most = patience(Duration::from_secs(12)).as_secs_f64();
    assert!((0.0..most).contains(&length), "it took {length} s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_goes_back_delays_no_drain() {
    scale_in_while_the_clock_goes("a_clock_that_goes_back_delays_no_drain", "-7200").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_goes_ahead_ends_no_drain_early() {
    scale_in_while_the_clock_goes("a_clock_that_goes_ahead_ends_no_drain_early", "+7200").await;
}
