//! Who may use which core, and who comes first.

use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, Pid, gettid, sched_setaffinity};

/// The least of all priorities.
const LAST: i32 = 19;

/// Has this thread run only when nobody else wants to on its core.
pub fn step_back() {
    setpriority_process(Some(gettid()), LAST).unwrap();
}

/// Has all threads of a process run on one core.
pub fn keep_process_on(pid: u32, core: usize) {
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let name = thread.unwrap().file_name();
        let thread: i32 = name.to_str().unwrap().parse().unwrap();
        keep(Pid::from_raw(thread), core);
    }
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
