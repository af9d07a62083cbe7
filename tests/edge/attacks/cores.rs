//! Who may use which core, and who comes first.

use std::process::Command;

use rustix::thread::{CpuSet, Pid, gettid, sched_setaffinity};

/// Has this thread run only when nobody else wants to on its core: the least priority would still
/// have it take its slices (sched(7), SCHED_IDLE).
pub fn step_back() {
    let thread = gettid().as_raw_pid().to_string();
    let mut chrt = Command::new("chrt");
    chrt.args(["--idle", "--pid", "0", &thread]);
    assert!(chrt.status().expect("chrt of util-linux").success());
}

/// Has all threads of a process run on one core.
pub fn keep_process_on(pid: u32, core: usize) {
    for thread in threads(pid) {
        keep(Pid::from_raw(thread), core);
    }
}

/// Has the threads of this name, of which there are so many, run on a core each.
pub fn spread(pid: u32, name: &str, count: usize) {
    let mut meant: Vec<i32> = threads(pid)
        .filter(|thread| {
            let comm = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/comm"));
            comm.unwrap().starts_with(name)
        })
        .collect();
    meant.sort_unstable();
    assert_eq!(meant.len(), count, "threads called {name}");
    for (core, thread) in meant.into_iter().enumerate() {
        keep(Pid::from_raw(thread), core);
    }
}

fn threads(pid: u32) -> impl Iterator<Item = i32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.map(|task| task.unwrap().file_name().to_str().unwrap().parse().unwrap())
}

/// Has this thread, and those that it begins, run on one core.
pub fn keep_this_on(core: usize) {
    keep(None, core);
}

fn keep(thread: Option<Pid>, core: usize) {
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(thread, &cores).unwrap();
}
