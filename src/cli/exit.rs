//! The exit codes: a contract with supervisors and scripts.

/// Everything went well; of a drain: every session ended cleanly.
pub const OK: u8 = 0;

/// Anything that no other code is for.
pub const FAILED: u8 = 1;

/// Wrong usage or configuration. clap ends the process with the same code.
pub const USAGE: u8 = 2;

/// Drained, but sessions were cut at the deadline; `drain.exit_code_when_cut` changes it.
pub const SESSIONS_CUT: u8 = 3;
