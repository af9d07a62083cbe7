//! HTTP/1.1 over kept connections: a small GET, and a POST of 64 KiB, 64 at once.

use std::rc::Rc;
use std::time::Duration;

use super::ping_pong::ClosedLoop;
use super::{Figure, Size, Speaks, Traffic, Workload, cpu};
use crate::Result;
use crate::load::{Exchange, Keep, Lanes, Place, Request, Role};

const FIGURES: &[Figure] = &[
    cpu("CPU a request"),
    Figure {
        name: "wall time a request",
        unit: "µs",
        compared: false,
    },
];

pub(super) fn all(size: Size) -> Vec<Workload> {
    let count = size.of(64);
    let get = Workload::new(
        "get",
        "HTTP/1.1 GET with a small answer, 64 kept connections",
        Speaks::Http,
        FIGURES,
        move |place| open(place, Request::get(), count, Keep::Open),
    );
    let mut post = Workload::new(
        "post",
        "HTTP/1.1 POST of 64 KiB, 64 kept connections",
        Speaks::Http,
        FIGURES,
        move |place| open(place, Request::post(), count, Keep::Open),
    );
    post.traffic = Traffic::Large;
    vec![get, post]
}

/// Lanes that send this request.
pub(super) fn open(place: Place, request: Request, count: usize, keep: Keep) -> Result<ClosedLoop> {
    let mut lanes = Lanes::new(place, Role::Http)?;
    let exchange: Rc<dyn Exchange> = Rc::new(request);
    lanes.open(count, &exchange, keep, Duration::from_secs(1))?;
    Ok(ClosedLoop(lanes))
}
