//! The agent's TCP: each line comes back as it was.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::demo::book::Book;
use crate::cli::demo::ledger::Traffic;
use crate::cli::demo::message;

/// The longest line that is waited for; a longer one comes back in pieces.
const LINE: u64 = 64 * 1024;

/// The longest that one line may take to be written.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client of the demo says first, before the id of its session.
pub(in crate::cli::demo) const HELLO: &str = "session ";

/// Echoes until the other side has said its last, then ends.
pub(super) async fn serve(mut socket: TcpStream, book: Arc<Book>) {
    let mut entry = book.open(None, Traffic::Tcp);
    let (reader, mut writer) = socket.split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        if let Some(id) = text
            .strip_prefix(HELLO)
            .and_then(|id| id.trim_end().parse().ok())
        {
            entry.identify(id);
            continue;
        }
        let number = message::number(&text);
        if let Some(number) = number {
            entry.side.received.note(number);
        }
        if !matches!(timeout(PATIENCE, writer.write_all(&line)).await, Ok(Ok(()))) {
            // What it still says can be read, though nothing can be answered any more.
            let _ = timeout(PATIENCE, rest(&mut reader, &mut entry.side.received)).await;
            break;
        }
        if number.is_some() {
            entry.side.sent.note(Instant::now());
        }
    }
    let _ = timeout(PATIENCE, writer.shutdown()).await;
}

/// Notes the lines that come after the way back was shut.
async fn rest(
    reader: &mut (impl AsyncBufReadExt + Unpin),
    received: &mut crate::cli::demo::ledger::Received,
) {
    let mut line = Vec::new();
    while let Ok(1..) = reader.take(LINE).read_until(b'\n', &mut line).await {
        if let Some(number) = message::number(&String::from_utf8_lossy(&line)) {
            received.note(number);
        }
        line.clear();
    }
}
