//! Lameduck, the proxy that lets stateful agents be scaled in without anyone noticing.
//!
//! The rooms, top to bottom; a room imports from its own floor or below, never above.

pub mod cli;

pub mod app;

pub mod lifecycle;

pub mod admin;

pub mod drain;

pub mod http;

pub mod relay;

pub mod net;

pub mod session;

pub mod config;
