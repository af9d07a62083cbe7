//! Where signs come from. Each may be silent without the others minding.

pub(super) mod described;
pub(super) mod learned;
pub(super) mod metadata;
pub(super) mod queue;
