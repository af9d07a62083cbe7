//! Which part of the process a call means: a listener, or a share of the sessions.

use crate::config::{Wrong, flag};
use crate::session::{Part, Roster};

use super::body::Fields;
use super::problem::Problem;

/// The part that the fields of a body name; none for everything.
pub(super) fn in_fields(fields: &mut Fields, roster: &Roster) -> Result<Option<Part>, Problem> {
    match (fields.text("listener")?, fields.text("share")?) {
        (None, None) => Ok(None),
        (Some(name), None) => listener(&name, roster).map(Some),
        (None, Some(share)) => match flag::share(&share) {
            Ok(share) => Ok(Some(Part::Share(share))),
            Err(Wrong { what, help }) => {
                let detail = format!("share: {what} (help: {help})");
                Err(Problem::bad_request(detail).at("share"))
            }
        },
        (Some(_), Some(_)) => {
            let detail = "listener and share: give one of them, or neither for everything";
            Err(Problem::bad_request(detail).at("share"))
        }
    }
}

/// The part that a query names: `listener=NAME`, or `share` without a value, since there is no more
/// than one drain of a share, however large.
pub(super) fn in_query(query: Option<&str>, roster: &Roster) -> Result<Option<Part>, Problem> {
    match query.filter(|query| !query.is_empty()) {
        None => Ok(None),
        Some("share") => Ok(Some(Part::Share(1.0))),
        Some(query) => match query.strip_prefix("listener=") {
            Some(name) => listener(name, roster).map(Some),
            None => {
                let detail = format!(
                    "{query:?} is not known here (help: there are listener=NAME and share)"
                );
                Err(Problem::bad_request(detail))
            }
        },
    }
}

fn listener(name: &str, roster: &Roster) -> Result<Part, Problem> {
    match roster.find(name) {
        Some(index) => Ok(Part::Listener(index)),
        None => {
            let names = roster
                .serving()
                .into_iter()
                .map(|(_, name)| name.to_string());
            let names = names.collect::<Vec<_>>().join(", ");
            let detail =
                format!("listener: there is no listener {name:?} (help: there are {names})");
            Err(Problem::bad_request(detail).at("listener"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::ListenerName;
    use crate::session::ListenerIndex;

    #[test]
    fn a_query_names_a_listener_or_the_share() {
        let roster = Roster::new(["chat", "raw"].map(|name| ListenerName(Arc::from(name))));
        let part = |query| in_query(query, &roster).ok();
        assert_eq!(part(None), Some(None));
        assert_eq!(part(Some("")), Some(None));
        assert_eq!(
            part(Some("listener=raw")),
            Some(Some(Part::Listener(ListenerIndex(1))))
        );
        assert_eq!(part(Some("share")), Some(Some(Part::Share(1.0))));
        assert_eq!(part(Some("listener=rew")), None);
        assert_eq!(part(Some("listner=raw")), None);
    }
}
