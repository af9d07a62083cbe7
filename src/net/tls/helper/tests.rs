use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{ThreadId, current};

use super::*;

fn where_am_i() -> ThreadId {
    current().id()
}

/// A step that a test has not taken itself.
async fn taken_beside<T: Send + 'static>(
    helper: &Helper,
    step: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let told = helper
        .give(step)
        .map_err(drop)
        .expect("it is not left alone");
    told.await.ok()
}

#[tokio::test]
async fn all_steps_are_taken_by_one_thread_beside() {
    let helper = Helper::default();
    let first = taken_beside(&helper, where_am_i).await.unwrap();
    let second = taken_beside(&helper, where_am_i).await.unwrap();
    assert_ne!(first, where_am_i());
    assert_eq!(first, second);
}

#[tokio::test]
async fn its_thread_runs_in_the_time_that_others_leave() {
    let stat = || std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let stat = taken_beside(&Helper::default(), stat).await.unwrap();
    // Its name, and its policy, the 41st value (proc_pid_stat(5)).
    assert!(stat.contains("(lameduck-tls)"), "{stat}");
    let behind_the_name = stat.rsplit_once(") ").unwrap().1;
    assert_eq!(behind_the_name.split(' ').nth(41 - 3), Some("5"), "{stat}");
}

#[tokio::test]
async fn a_step_that_panics_is_told_of_and_ends_nothing_else() {
    let helper = Helper::default();
    let first = taken_beside(&helper, where_am_i).await;
    let panicked = taken_beside(&helper, || -> () { panic!("a bug") }).await;
    assert_eq!(panicked, None);
    assert_eq!(taken_beside(&helper, where_am_i).await, first);
}

#[tokio::test]
async fn a_step_that_nobody_waits_for_any_more_is_not_taken() {
    let helper = Helper::default();
    let (go_on, wait) = mpsc::channel();
    let first = helper.give(move || wait.recv()).map_err(drop).unwrap();
    let is_taken = Arc::new(AtomicBool::new(false));
    let second = helper.give({
        let is_taken = Arc::clone(&is_taken);
        move || is_taken.store(true, Ordering::Relaxed)
    });
    drop(second);
    go_on.send(()).unwrap();
    first.await.unwrap().unwrap();
    taken_beside(&helper, where_am_i).await;
    assert!(!is_taken.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn it_is_left_alone_for_a_while_after_it_was_late() {
    let helper = Helper::default();
    helper.is_late();
    tokio::time::advance(PAUSE - Duration::from_millis(1)).await;
    let given_back = helper.give(where_am_i).map(drop).unwrap_err();
    assert_eq!(given_back(), where_am_i());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_ne!(taken_beside(&helper, where_am_i).await, Some(where_am_i()));
}

/// How long after one step another began that was given beside it, and how long the first took.
async fn gap_behind(helper: &Helper, step: Duration) -> (Duration, Duration) {
    let first = helper.give(move || {
        let begun = std::time::Instant::now();
        while begun.elapsed() < step {
            std::hint::spin_loop();
        }
        (begun.elapsed(), std::time::Instant::now())
    });
    let second = helper.give(std::time::Instant::now);
    let (took, end) = first.map_err(drop).unwrap().await.unwrap();
    let began = second.map_err(drop).unwrap().await.unwrap();
    (began.duration_since(end), took)
}

/// The first gap that is shorter than that: others may have held it up in those before.
async fn gap_shorter_than(limit: Duration, helper: &Helper, step: Duration) -> Duration {
    let first = async {
        loop {
            let gap = gap_behind(helper, step).await.0;
            if gap < limit {
                return gap;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), first)
        .await
        .expect("it rests for longer")
}

#[tokio::test]
async fn it_rests_behind_a_step_as_long_as_it_has_to() {
    let helper = Helper::default();
    let step = LONGEST_REST / 5;
    helper.has_to_rest(true);
    for _ in 0..10 {
        let (gap, took) = gap_behind(&helper, step).await;
        assert!(
            gap >= LONGEST_REST.min(took * REST),
            "{gap:?} behind {took:?}"
        );
    }
    helper.has_to_rest(false);
    gap_shorter_than(step * REST, &helper, step).await;
}

#[tokio::test]
async fn a_step_that_was_held_up_is_no_reason_for_a_longer_rest() {
    let helper = Helper::default();
    helper.has_to_rest(true);
    let step = LONGEST_REST * 20;
    let gap = gap_shorter_than(step, &helper, step).await;
    assert!(gap >= LONGEST_REST, "{gap:?}");
}
