//! HTTP/1.1: the server side, the client side, the tower layers, the handshake, event streams.
//!
//! Decisions about phases never come in here: the room is told what a request is to be answered
//! with, and does it.

pub mod event_boundary;
pub mod gate;
