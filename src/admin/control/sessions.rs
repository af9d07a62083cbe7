//! The open sessions: all, one, and the wish that one goes.

use std::time::Duration;

use http::{Response, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::session::{Direction, Facts, Holding, Kind, SessionId, Terms};

use super::Control;
use super::body::{self, Body};
use super::problem::Problem;
use super::status::seconds;

/// How many a page has when nothing is said.
const PAGE: usize = 100;
/// The longest page: some milliseconds of the health thread.
const LONGEST_PAGE: usize = 1_000;

/// One value for each direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ways<T> {
    /// From the client to the agent.
    pub to_upstream: T,
    /// From the agent to the client.
    pub to_client: T,
}

impl<T: Copy> Ways<T> {
    fn of(values: [T; Direction::COUNT]) -> Ways<T> {
        Ways {
            to_upstream: values[Direction::ToUpstream.index()],
            to_client: values[Direction::ToClient.index()],
        }
    }
}

/// A session as it is shown; lengths are seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionView {
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: String,
    /// Where it was accepted.
    pub listener: String,
    /// The client's address.
    pub client: String,
    /// What names the client behind that address, where `client_key` says so.
    pub key: Option<String>,
    /// How long it has been open.
    pub age: f64,
    /// How long nothing has come.
    pub idle: Ways<f64>,
    /// Bytes that have come.
    pub bytes: Ways<u64>,
    /// Whole messages that have come; zero for what has none.
    pub messages: Ways<u64>,
    /// Whether it has been asked to go.
    pub asked: bool,
}

/// A page of sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SessionPage {
    /// How many there are on all pages.
    pub total: usize,
    /// Those of this one.
    pub sessions: Vec<SessionView>,
    /// What to ask the next page with; none on the last.
    pub next: Option<String>,
}

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By id, which is the order that stays.
    #[default]
    Id,
    /// The quietest first.
    Idle,
    /// The oldest first.
    Age,
    /// Those that moved the most first.
    Bytes,
}

impl Sort {
    /// The orders that can be asked for, by name.
    pub const NAMED: &'static [(&'static str, Sort)] = &[
        ("idle", Sort::Idle),
        ("age", Sort::Age),
        ("bytes", Sort::Bytes),
    ];

    /// The place of a session in this order: ascending, with the id last.
    fn place(self, facts: &Facts, asked: Asked) -> Place {
        let rank = match self {
            Sort::Id => 0,
            Sort::Idle => asked.moment(facts.quiet()),
            Sort::Age => asked.moment(facts.age),
            Sort::Bytes => u64::MAX - facts.bytes.iter().sum::<u64>(),
        };
        (rank, facts.id)
    }
}

/// Where a session stands in a list. What is quiet or old stands where it last moved or began, not
/// at how long ago: that does not change from page to page.
type Place = (u64, SessionId);

/// When a page was asked for, since the process can tell the time.
#[derive(Clone, Copy, Debug)]
struct Asked(Duration);

impl Asked {
    /// What was so long ago, in milliseconds since the beginning.
    fn moment(self, ago: Duration) -> u64 {
        u64::try_from(self.0.saturating_sub(ago).as_millis()).unwrap_or(u64::MAX)
    }
}

/// What a list is asked for.
#[derive(Debug, Default, PartialEq)]
struct Query {
    kind: Option<Kind>,
    sort: Sort,
    limit: Option<usize>,
    after: Option<Place>,
}

impl Query {
    /// Reads the query of a URL (WHATWG form encoding is not needed: all values are plain words).
    fn parse(text: Option<&str>) -> Result<Query, Problem> {
        let mut query = Query::default();
        for pair in text
            .unwrap_or_default()
            .split('&')
            .filter(|p| !p.is_empty())
        {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                _ if value.is_empty() && ["kind", "sort", "limit", "cursor"].contains(&name) => {}
                "kind" => {
                    let kind = Kind::ALL.iter().find(|kind| kind.label() == value);
                    let words = Kind::ALL.iter().map(|kind| kind.label());
                    query.kind = Some(*kind.ok_or_else(|| not_one_of("kind", words))?);
                }
                "sort" => {
                    let sort = Sort::NAMED.iter().find(|(name, _)| *name == value);
                    let words = Sort::NAMED.iter().map(|(name, _)| *name);
                    query.sort = sort.ok_or_else(|| not_one_of("sort", words))?.1;
                }
                "limit" => {
                    let limit = value.parse().ok();
                    let limit = limit.filter(|limit| (1..=LONGEST_PAGE).contains(limit));
                    query.limit = Some(limit.ok_or_else(|| {
                        let detail = format!("limit: write a number from 1 to {LONGEST_PAGE}");
                        Problem::bad_request(detail).at("limit")
                    })?);
                }
                "cursor" => {
                    query.after = Some(place(value).ok_or_else(|| {
                        let detail = "cursor: write the `next` of the page before";
                        Problem::bad_request(detail).at("cursor")
                    })?);
                }
                _ => {
                    let detail = format!(
                        "{name:?} is not known here (help: there are kind, sort, limit and cursor)"
                    );
                    return Err(Problem::bad_request(detail));
                }
            }
        }
        Ok(query)
    }
}

fn not_one_of(name: &'static str, words: impl Iterator<Item = &'static str>) -> Problem {
    let words: Vec<_> = words.collect();
    Problem::bad_request(format!("{name}: write one of {}", words.join(", "))).at(name)
}

/// The place that a cursor stands for.
fn place(cursor: &str) -> Option<Place> {
    let (rank, id) = cursor.split_once('-')?;
    Some((u64::from_str_radix(rank, 16).ok()?, id.parse().ok()?))
}

fn cursor((rank, id): Place) -> String {
    format!("{rank:x}-{id}")
}

/// One page out of everything that is held.
fn page(facts: Vec<Facts>, query: &Query, asked: Asked) -> (usize, Vec<Facts>, Option<String>) {
    let mut wanted: Vec<(Place, Facts)> = facts
        .into_iter()
        .filter(|facts| match facts.holding {
            Holding::Session(kind) => query.kind.is_none_or(|wanted| wanted == kind),
            Holding::Nothing => false,
        })
        .map(|facts| (query.sort.place(&facts, asked), facts))
        .collect();
    let total = wanted.len();
    wanted.sort_by_key(|(place, _)| *place);
    let from = match query.after {
        Some(after) => wanted.partition_point(|(place, _)| *place <= after),
        None => 0,
    };
    let limit = query.limit.unwrap_or(PAGE);
    let next = match wanted.get(from + limit) {
        Some(_) => wanted
            .get(from + limit - 1)
            .map(|(place, _)| cursor(*place)),
        None => None,
    };
    let shown = wanted.drain(from..).take(limit);
    (total, shown.map(|(_, facts)| facts).collect(), next)
}

impl Control {
    pub(super) async fn list_sessions(
        &self,
        query: Option<&str>,
    ) -> Result<Response<Body>, Problem> {
        let query = Query::parse(query)?;
        let facts = self.workers.facts().await;
        let (total, facts, next) = page(facts, &query, Asked(self.begun.elapsed()));
        let sessions = facts.iter().filter_map(|facts| self.view(facts)).collect();
        let page = SessionPage {
            total,
            sessions,
            next,
        };
        Ok(body::json(StatusCode::OK, &page))
    }

    pub(super) async fn show_session(&self, id: &str) -> Result<Response<Body>, Problem> {
        let (_, view) = self.find(id).await?;
        Ok(body::json(StatusCode::OK, &view))
    }

    /// Asks one to go: it has the time of a drain's, and is cut alone after twice that.
    pub(super) async fn end_session(&self, id: &str) -> Result<Response<Body>, Problem> {
        let (id, view) = self.find(id).await?;
        let close_timeout = self.drain.borrow().close_timeout;
        let terms = Terms {
            until: Instant::now() + 2 * close_timeout,
            reserve: close_timeout,
            close_timeout,
        };
        self.workers.leave(&[id], terms);
        tracing::info!(session.id = %id, "session asked to go by the admin API");
        let asked = true;
        Ok(body::json(
            StatusCode::ACCEPTED,
            &SessionView { asked, ..view },
        ))
    }

    async fn find(&self, id: &str) -> Result<(SessionId, SessionView), Problem> {
        let gone = || Problem::not_found("there is no such session; it may have ended");
        let id: SessionId = id.parse().map_err(|_| gone())?;
        let facts = self.workers.facts().await;
        let found = facts.iter().find(|facts| facts.id == id);
        let view = found.and_then(|facts| self.view(facts)).ok_or_else(gone)?;
        Ok((id, view))
    }

    /// What is shown of a session; nothing of a connection without one.
    fn view(&self, facts: &Facts) -> Option<SessionView> {
        let Holding::Session(kind) = facts.holding else {
            return None;
        };
        Some(SessionView {
            id: facts.id.to_string(),
            kind: kind.label().to_owned(),
            listener: self.roster.name(facts.listener),
            client: facts.client.to_string(),
            key: facts.key.as_deref().map(str::to_owned),
            age: seconds(facts.age),
            idle: Ways::of(facts.idle.map(seconds)),
            bytes: Ways::of(facts.bytes),
            messages: Ways::of(facts.messages),
            asked: facts.asked,
        })
    }
}

#[cfg(test)]
mod tests;
