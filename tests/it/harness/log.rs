//! The log of a child process, line by line, and waits for what it says.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};
use tokio::sync::watch;

/// Everything that a child has written so far. Clones share it.
#[derive(Clone)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    progress: watch::Receiver<Progress>,
}

#[derive(Clone, Copy, Default)]
struct Progress {
    lines: usize,
    ended: bool,
}

impl Log {
    /// Reads `source` to its end on a thread of its own.
    pub fn follow(source: impl Read + Send + 'static) -> Log {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (told, progress) = watch::channel(Progress::default());
        let log = Log {
            lines: lines.clone(),
            progress,
        };
        std::thread::spawn(move || {
            for line in BufReader::new(source).split(b'\n').map_while(Result::ok) {
                lines
                    .lock()
                    .unwrap()
                    .push(String::from_utf8_lossy(&line).into_owned());
                told.send_modify(|progress| progress.lines += 1);
            }
            told.send_modify(|progress| progress.ended = true);
        });
        log
    }

    /// All lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// All lines so far that are events, oldest first.
    pub fn events(&self) -> Vec<Event> {
        self.lines()
            .iter()
            .filter_map(|line| Event::parse(line))
            .collect()
    }

    /// All lines so far that parse as JSON of any shape.
    pub fn json(&self) -> Vec<Value> {
        self.lines()
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// What `find` makes of the log, as soon as it makes anything of it; nothing, if the log ends
    /// first. Unbounded: wrap it in [`super::within`].
    pub async fn find<T>(&self, find: impl Fn(&Log) -> Option<T>) -> Option<T> {
        let mut progress = self.progress.clone();
        loop {
            let ended = progress.borrow_and_update().ended;
            if let Some(found) = find(self) {
                return Some(found);
            }
            if ended || progress.changed().await.is_err() {
                return find(self);
            }
        }
    }

    /// Waits until the child has closed its end.
    pub async fn ended(&self) {
        let mut progress = self.progress.clone();
        let _ = progress.wait_for(|progress| progress.ended).await;
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines()
            .iter()
            .try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// One line of a JSON log.
#[derive(Clone, Debug)]
pub struct Event {
    /// The constant part.
    pub message: String,
    /// The values.
    pub fields: Map<String, Value>,
    /// `INFO`, `WARN` and so on.
    pub level: String,
}

impl Event {
    fn parse(line: &str) -> Option<Event> {
        let line: Value = serde_json::from_str(line).ok()?;
        let fields = line.get("fields")?.as_object()?.clone();
        Some(Event {
            message: fields.get("message")?.as_str()?.to_owned(),
            level: line.get("level")?.as_str()?.to_owned(),
            fields,
        })
    }

    /// A value as text, whatever its type.
    pub fn text(&self, field: &str) -> Option<String> {
        Some(match self.fields.get(field)? {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }
}
