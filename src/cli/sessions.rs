//! `lameduck sessions`: what is open, one by one.

use clap::{Args, ValueEnum};

use super::client::{Error, Target};
use super::words::{counted, length, printable, table};
use super::{exit, out};
use crate::admin::control::{SessionPage, SessionView};
use crate::session::Kind;

/// What is asked for at a time.
const PAGE: usize = 1_000;

#[derive(Debug, Args)]
pub(super) struct SessionsArgs {
    #[command(flatten)]
    target: Target,

    /// One JSON object a line, as the control API gives it
    #[arg(long)]
    json: bool,

    /// Only this kind
    #[arg(long, value_name = "KIND", value_parser = kind())]
    kind: Option<String>,

    /// The quietest first, the oldest, or those that moved the most
    #[arg(long, value_enum)]
    sort: Option<By>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Idle,
    Age,
    Bytes,
}

impl By {
    fn name(self) -> &'static str {
        match self {
            By::Idle => "idle",
            By::Age => "age",
            By::Bytes => "bytes",
        }
    }
}

fn kind() -> clap::builder::PossibleValuesParser {
    Kind::ALL
        .iter()
        .map(|kind| kind.label())
        .collect::<Vec<_>>()
        .into()
}

/// Shows the sessions.
pub(super) async fn sessions(args: SessionsArgs) -> Result<u8, Error> {
    let client = args.target.client()?;
    let mut query = format!("/v1/sessions?limit={PAGE}");
    if let Some(kind) = &args.kind {
        query += &format!("&kind={kind}");
    }
    if let Some(sort) = args.sort {
        query += &format!("&sort={}", sort.name());
    }
    let mut all = Vec::new();
    let mut next = Some(query.clone());
    while let Some(path) = next {
        let page: SessionPage = client.get(&path).await?;
        if args.json {
            for session in &page.sessions {
                out::line(&serde_json::to_string(session).unwrap_or_default())?;
            }
        } else {
            all.extend(page.sessions);
        }
        next = page.next.map(|cursor| format!("{query}&cursor={cursor}"));
    }
    if !args.json {
        out::lines(&shown(&all))?;
        eprintln!("{} open", counted(all.len() as u64, "session"));
    }
    Ok(exit::OK)
}

fn shown(sessions: &[SessionView]) -> Vec<String> {
    let title = [
        "id",
        "kind",
        "listener",
        "client",
        "",
        "age",
        "idle",
        "bytes in",
        "bytes out",
    ];
    let mut rows = vec![title.map(str::to_owned).to_vec()];
    for session in sessions {
        let asked = if session.asked { "asked to go" } else { "" };
        let idle = session.idle.to_upstream.min(session.idle.to_client);
        rows.push(vec![
            session.id.clone(),
            session.kind.clone(),
            printable(&session.listener),
            session.client.clone(),
            asked.to_owned(),
            length(session.age),
            length(idle),
            session.bytes.to_upstream.to_string(),
            session.bytes.to_client.to_string(),
        ]);
    }
    if sessions.is_empty() {
        return Vec::new();
    }
    table(&rows, 5)
}
