//! What a session is: its id, kind and outcome, the phase everybody looks at, the ledger of
//! counts, the facts that can be told of a session and the orders it can be given.
//!
//! Every room above may look here. No sockets, no protocols, no decisions come in.

mod complaint;
mod facts;
mod holds;
mod id;
mod kind;
mod ledger;
mod limiter;
pub mod metrics;
mod orders;
mod phase;
mod record;
mod roster;

pub use complaint::Complaints;
pub use facts::{Client, Facts, Holding};
pub use holds::{Hold, HoldId, HoldRefused, Holds, LONGEST_HOLD, SHORTEST_HOLD, UnknownHold};
pub use id::{EndpointId, Home, ListenerIndex, NoSessionId, SessionId, WorkerIndex};
pub use kind::{Direction, Kind, Outcome, Refusal};
pub use ledger::{Connected, Counted, Ledger, Ledgers, ListenerTotals, Totals};
pub use limiter::{Limiter, Refused, Ticket};
pub use orders::{CutSession, Gone, Order, Page, Terms, Whom, Workers};
pub use phase::{Deadline, DrainView, Part, PartView, Phase, PhaseView};
pub use record::{Record, Records, Request};
pub use roster::Roster;
