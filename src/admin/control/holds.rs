//! Holds: taken, prolonged and given back.

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::session::{Hold, HoldId, HoldRefused, Phase, UnknownHold};

use super::Control;
use super::body::{self, Body, Fields, required};
use super::problem::Problem;
use super::status::unix;

/// A hold as it is shown; moments are Unix seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HoldView {
    /// Its id.
    pub id: String,
    /// Why it was taken.
    pub reason: String,
    /// When it was taken.
    pub taken: f64,
    /// When it ends unless it is prolonged.
    pub expires: f64,
}

impl HoldView {
    pub(super) fn of(hold: &Hold) -> HoldView {
        HoldView {
            id: hold.id.to_string(),
            reason: hold.reason.clone(),
            taken: unix(hold.taken),
            expires: unix(hold.expires),
        }
    }
}

impl Control {
    pub(super) fn take_hold(&self, mut fields: Fields) -> Result<Response<Body>, Problem> {
        let ttl = fields.duration("ttl")?;
        let reason = fields.text("reason")?;
        fields.done("ttl and reason")?;
        let ttl = required(ttl, "ttl", "30s")?;
        let reason = required(reason, "reason", "indexing")?;
        if self.phase.borrow().phase == Phase::Drained {
            return Err(Problem::conflict(
                "the drain is over: there is nothing left that a hold could keep up",
            ));
        }
        let taken = self.holds.take(Instant::now(), ttl, &reason);
        let hold = taken.map_err(refused)?;
        tracing::info!(hold.id = %hold.id, ?ttl, reason, "hold taken");
        Ok(body::created(
            &format!("/v1/holds/{}", hold.id),
            &HoldView::of(&hold),
        ))
    }

    pub(super) fn prolong_hold(
        &self,
        id: &str,
        mut fields: Fields,
    ) -> Result<Response<Body>, Problem> {
        let ttl = fields.duration("ttl")?;
        fields.done("ttl alone")?;
        let ttl = required(ttl, "ttl", "30s")?;
        let id: HoldId = id.parse().map_err(unknown)?;
        let prolonged = self.holds.prolong(Instant::now(), id, ttl);
        let hold = prolonged.map_err(refused)?.map_err(unknown)?;
        Ok(body::json(StatusCode::OK, &HoldView::of(&hold)))
    }

    pub(super) fn give_back_hold(&self, id: &str) -> Result<Response<Body>, Problem> {
        let id: HoldId = id.parse().map_err(unknown)?;
        let hold = self.holds.give_back(Instant::now(), id).map_err(unknown)?;
        tracing::info!(hold.id = %hold.id, reason = hold.reason, "hold given back");
        Ok(body::json(StatusCode::OK, &HoldView::of(&hold)))
    }
}

fn unknown(unknown: UnknownHold) -> Problem {
    Problem::not_found(unknown.to_string())
}

fn refused(refused: HoldRefused) -> Problem {
    match refused {
        HoldRefused::Ttl => Problem::bad_request(format!("ttl: {refused}")).at("ttl"),
        HoldRefused::TooMany => Problem::conflict(refused.to_string()),
    }
}
