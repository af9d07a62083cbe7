//! The access log: a thread of its own writes a line for each session that has ended.
//!
//! It looks for records a few times a second, so that no worker ever has to wake it, and opens its
//! file again on SIGUSR1 or when it has been moved away.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::{AccessLogTo, Config, LogFormat};
use crate::session::{Record, Records, Roster};

use super::access_line;

/// How often it looks for records.
const LOOK: Duration = Duration::from_millis(50);
/// How often it looks whether its file is still where it was.
const MOVED: Duration = Duration::from_secs(1);
/// So many bytes are written at once.
const CHUNK: usize = 64 * 1024;

/// What is to be written, and where.
pub(super) struct AccessLog {
    to: AccessLogTo,
    format: LogFormat,
    roster: Roster,
    records: Receiver<Box<Record>>,
    dropped: Arc<AtomicU64>,
    out: Out,
}

enum Out {
    Stdout,
    File(File),
}

impl AccessLog {
    /// Opens the log, if there is to be one, and the way of the records to it.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub(super) fn open(
        config: &Config,
        roster: &Roster,
    ) -> io::Result<Option<(AccessLog, Records)>> {
        let Some(settings) = &config.access_log else {
            return Ok(None);
        };
        let (records, end) = Records::new();
        let log = AccessLog {
            out: open(&settings.to)?,
            to: settings.to.clone(),
            format: settings.format,
            roster: roster.clone(),
            records: end,
            dropped: Arc::clone(records.dropped()),
        };
        Ok(Some((log, records)))
    }

    /// Writes until it is told to stop, and then what is left.
    ///
    /// # Errors
    /// When the runtime or the signal cannot be had.
    pub(super) fn run(self, stop: CancellationToken) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let reopen = signal(SignalKind::user_defined1())?;
            self.write_until(stop, reopen).await;
            Ok(())
        })
    }

    async fn write_until(mut self, stop: CancellationToken, mut reopen: Signal) {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        loop {
            tokio::select! {
                _ = look.tick() => {
                    self.write_all();
                    if looked.elapsed() >= MOVED {
                        looked = Instant::now();
                        if self.is_moved() {
                            self.reopen();
                        }
                    }
                }
                Some(()) = reopen.recv() => {
                    self.write_all();
                    self.reopen();
                }
                () = stop.cancelled() => return self.write_all(),
            }
        }
    }

    /// Writes what has come.
    fn write_all(&mut self) {
        let (mut lines, mut count) = (String::new(), 0);
        while let Ok(record) = self.records.try_recv() {
            let listener = self.roster.name(record.listener);
            access_line::write(&mut lines, &record, &listener, self.format);
            count += 1;
            if lines.len() >= CHUNK {
                self.put(&lines, count);
                lines.clear();
                count = 0;
            }
        }
        if count > 0 {
            self.put(&lines, count);
        }
    }

    fn put(&mut self, lines: &str, count: u64) {
        let written = match &mut self.out {
            Out::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(lines.as_bytes()).and_then(|()| out.flush())
            }
            Out::File(file) => file.write_all(lines.as_bytes()),
        };
        if let Err(error) = written {
            self.dropped.fetch_add(count, Ordering::Relaxed);
            tracing::warn!(%error, lines = count, "the access log cannot be written");
        }
    }

    /// Whether the file that is written is no longer the one of its name.
    fn is_moved(&self) -> bool {
        match (&self.out, &self.to) {
            (Out::File(file), AccessLogTo::File(path)) => !is_same(file, path),
            _ => false,
        }
    }

    fn reopen(&mut self) {
        match open(&self.to) {
            Ok(out) => self.out = out,
            Err(error) => tracing::warn!(%error, "the access log cannot be opened again"),
        }
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), path.metadata()) else {
        return false;
    };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

fn open(to: &AccessLogTo) -> io::Result<Out> {
    let AccessLogTo::File(path) = to else {
        return Ok(Out::Stdout);
    };
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.map(Out::File).map_err(|e| {
        let what = format!("cannot open {}: {e}", path.display());
        io::Error::new(e.kind(), what)
    })
}
