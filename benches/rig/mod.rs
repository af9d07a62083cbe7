//! What both benches stand on: a load, the start of what is measured, and the reading of what it costs.
#![allow(
    dead_code,
    unused_imports,
    reason = "two benches are made of it, and neither uses all"
)]

pub(crate) mod certificate;
pub(crate) mod child;
pub(crate) mod floor;
pub(crate) mod lameduck;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod measure;
pub(crate) mod section;
pub(crate) mod stats;
