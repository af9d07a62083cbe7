//! The `lameduck` binary.

fn main() {}
