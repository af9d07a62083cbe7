//! The relay: bytes from here to there.
//!
//! The pump, the halves of a session and the boundaries of what passes through it live here: the
//! hot path. HTTP never comes in here, and neither does any decision about phases: the relay is
//! told what to do with a session and does it.

pub mod boundary;
pub mod close_frame;
