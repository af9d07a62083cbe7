//! `lameduck status`: how the proxy stands, once or as it changes.

use std::io;

use clap::Args;
use tokio::time::Instant;

use super::client::{Error, Event, Target};
use super::progress::{Display, Progress};
use super::words::{length, printable, shortened, table};
use super::{exit, out};
use crate::admin::control::Status;

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    target: Target,

    /// One JSON object a line, as the control API gives it
    #[arg(long)]
    json: bool,

    /// Go on, until the proxy leaves
    #[arg(long)]
    watch: bool,
}

/// Shows the status.
pub(super) async fn status(args: StatusArgs) -> Result<u8, Error> {
    let client = args.target.client()?;
    if args.watch {
        return watch(&args).await;
    }
    let status: Status = client.get("/v1/status").await?;
    if args.json {
        out::line(&json(&status))?;
        return Ok(exit::OK);
    }
    let now = Instant::now();
    out::lines(&Progress::new(status.clone(), None, now).screen(now))?;
    out::lines(&by_listener(&status))?;
    out::lines(&parts(&status))?;
    Ok(exit::OK)
}

async fn watch(args: &StatusArgs) -> Result<u8, Error> {
    let mut events = args.target.client()?.events().await?;
    let mut display = Display::on(io::stdout());
    let mut ticks = display.ticks();
    let mut progress: Option<Progress> = None;
    let closed = |source| Error::Own {
        what: "stdout",
        source,
    };
    loop {
        let event = tokio::select! {
            event = events.next() => event?,
            _ = ticks.tick() => {
                if let (Some(progress), false) = (&mut progress, args.json) {
                    display.show(progress, Instant::now()).map_err(closed)?;
                }
                continue;
            }
        };
        let now = Instant::now();
        match event {
            Some(Event::Status(status)) if args.json => {
                out::line(&json(&status))?;
                progress = Some(Progress::new(*status, None, now));
            }
            Some(Event::Status(status)) => {
                let progress = match &mut progress {
                    Some(progress) => {
                        progress.update(*status, now);
                        progress
                    }
                    none => none.insert(Progress::new(*status, None, now)),
                };
                display.show(progress, now).map_err(closed)?;
            }
            Some(Event::Report(_)) => {}
            None => {
                let drained = progress.is_some_and(|p| p.status().phase == "drained");
                eprintln!("the proxy has left");
                return Ok(if drained { exit::OK } else { exit::FAILED });
            }
        }
    }
}

fn json(status: &Status) -> String {
    serde_json::to_string(status).unwrap_or_default()
}

/// The parts that are drained, or being drained, while the rest serves.
fn parts(status: &Status) -> Vec<String> {
    let parts = status.parts.iter().map(|part| {
        let left = match part.phase.as_str() {
            "drained" => String::new(),
            _ => format!(", {} left", length(part.remaining)),
        };
        format!("  {} {}{left}", printable(&part.part), part.phase)
    });
    parts.collect()
}

/// Listeners by kinds, where there is more than one listener.
fn by_listener(status: &Status) -> Vec<String> {
    if status.sessions.len() < 2 {
        return Vec::new();
    }
    let kinds = status.kinds();
    let title = ["listener"].into_iter().chain(kinds.keys().copied());
    let mut rows = vec![title.map(str::to_owned).collect::<Vec<_>>()];
    for (listener, open) in &status.sessions {
        let counts = kinds
            .keys()
            .map(|kind| open.get(*kind).copied().unwrap_or_default());
        let name = shortened(&printable(listener), 30);
        rows.push(
            [name]
                .into_iter()
                .chain(counts.map(|n| n.to_string()))
                .collect(),
        );
    }
    let lines = table(&rows, 1).into_iter();
    lines.map(|line| format!("  {line}")).collect()
}
