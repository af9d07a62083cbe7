//! Threads that are content with what time others leave.

use std::io;

use rustix::process::Pid;

/// Has a thread run only while nobody else wants its core (`SCHED_IDLE`, sched(7)): it is stopped as soon
/// as somebody does. Where somebody always does it nearly stands still, and whoever waits for it as well.
///
/// # Errors
/// Where the system has no such thing, or forbids it.
#[cfg(target_os = "linux")]
#[allow(
    unsafe_code,
    reason = "rustix does not have it, and musl's own function does nothing"
)]
pub(super) fn leave_only_that_to(thread: Pid) -> io::Result<()> {
    let param = libc::sched_param { sched_priority: 0 };
    // SAFETY: the kernel reads a `sched_param` at the address given, which lives on this stack, and sets what
    // the thread runs by. No memory is touched beyond that.
    let done = unsafe {
        libc::syscall(
            libc::SYS_sched_setscheduler,
            thread.as_raw_pid(),
            libc::SCHED_IDLE,
            &raw const param,
        )
    };
    match done {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// As above.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub(super) fn leave_only_that_to(_: Pid) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
