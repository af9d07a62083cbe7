//! The orchestrators that containers run under, as their containers meet them: an API server of
//! Kubernetes over TLS, and the agent of ECS.

mod cost;
mod ecs;
mod events;
mod fake;
#[path = "../admin/harness.rs"]
#[allow(dead_code, reason = "made for other tests, of which these need a part")]
mod harness;
mod pod;
mod schema;
mod sidecar;
mod wire;
