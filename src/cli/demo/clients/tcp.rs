//! A client that says lines over TCP and hears each of them again.

use std::io;
use std::time::Instant;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Client, Ended, PATIENCE, Tally};
use crate::cli::demo::agent::HELLO;
use crate::cli::demo::ledger::End;
use crate::cli::demo::message;

/// Opens the session and talks until its end.
pub(super) async fn session(client: &Client, tally: &mut Tally) -> Ended {
    let opening = async {
        let target = client
            .common
            .targets
            .tcp
            .as_deref()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mut stream = TcpStream::connect(target).await?;
        stream.set_nodelay(true)?;
        stream
            .write_all(format!("{HELLO}{}\n", client.id).as_bytes())
            .await?;
        Ok::<_, io::Error>(stream)
    };
    match client.open(opening).await {
        Ok((stream, _opened)) => talk(client, stream, tally).await,
        Err(ended) => ended,
    }
}

async fn talk(client: &Client, mut stream: TcpStream, tally: &mut Tally) -> Ended {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    let mut ticks = interval(client.pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut line = Vec::new();
    let mut waiting: Option<String> = None;
    let mut leaving = None;
    loop {
        tokio::select! {
            // What has been read of a line stays in it when another branch wins.
            read = reader.read_until(b'\n', &mut line) => match read {
                Ok(_) if line.ends_with(b"\n") => {
                    match waiting.take() {
                        Some(asked) if asked.as_bytes() == line => {
                            tally.received.note(message::number(&asked).unwrap_or_default());
                        }
                        _ => tally.received.damaged(),
                    }
                    line.clear();
                }
                Ok(_) if !line.is_empty() => return Ended::torn("ended inside a line"),
                Ok(_) => {
                    let at = leaving.unwrap_or_else(Instant::now);
                    let end = if leaving.is_some() { End::Left } else { End::Line };
                    return Ended { end, at };
                }
                Err(error) => return Ended::torn(error.to_string()),
            },
            _ = ticks.tick(), if waiting.is_none() && leaving.is_none() => {
                let text = format!("{}\n", message::numbered(tally.sent.next()));
                match timeout(PATIENCE, writer.write_all(text.as_bytes())).await {
                    Ok(Ok(())) => tally.sent.note(Instant::now()),
                    Ok(Err(error)) => return Ended::torn(format!("not sent: {error}")),
                    Err(_) => return Ended::torn("not sent in time"),
                }
                waiting = Some(text);
            }
            () = client.common.stop.cancelled(), if leaving.is_none() => {
                leaving = Some(Instant::now());
                // Where this fails, the next read says how.
                let _ = timeout(PATIENCE, writer.shutdown()).await;
            }
        }
    }
}
