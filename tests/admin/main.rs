//! The control API and its commands, against the binary itself.

mod api;
mod commands;
mod drains;
mod harness;
mod hostile;
mod parts;
mod reload;
mod unix;
