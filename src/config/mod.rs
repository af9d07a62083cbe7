//! The configuration: schema, defaults, validation.
//!
//! What leaves this room is a [`Config`] that cannot be wrong. No sockets, no clocks, no threads
//! come in here, and no other room reads the raw file.

mod types;

pub use types::*;
