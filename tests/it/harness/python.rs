//! The Python agent, where there is an interpreter for it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use serde_json::Value;

use super::ledger::{Close, Side};
use super::log::Log;
use super::wire::End;
use super::within;

/// A running `tests/it/agents/ws_agent.py`; it ends when dropped.
pub struct PythonAgent {
    /// Where it listens.
    pub addr: SocketAddr,
    child: Child,
    sessions: Log,
    errors: Log,
}

/// The interpreter that has what `tests/requirements.txt` names: `LAMEDUCK_TEST_PYTHON`, or that of
/// the virtual environment that `tests/run` makes. Where there is none, says that `test` is left out.
pub fn interpreter_for(test: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("LAMEDUCK_TEST_PYTHON") {
        return Some(named.into());
    }
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    if made.exists() {
        return Some(made);
    }
    eprintln!(
        "LEFT OUT: {test} needs a Python with tests/requirements.txt: neither is \
         LAMEDUCK_TEST_PYTHON set nor is there .venv/bin/python (`tests/run` makes it)"
    );
    None
}

impl PythonAgent {
    /// Starts it; where there is no interpreter, says that `test` is left out, and why.
    pub async fn start_for(test: &str) -> Option<PythonAgent> {
        let python = interpreter_for(test)?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/agents/ws_agent.py");
        let mut child = Command::new(&python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", python.display()));
        let sessions = Log::follow(child.stdout.take().unwrap());
        let errors = Log::follow(child.stderr.take().unwrap());
        let port = sessions.find(|log| log.json().first()?.get("port")?.as_u64());
        let port = within(20, "the Python agent's port", port).await;
        let port = port.unwrap_or_else(|| panic!("the Python agent ended:\n{errors}"));
        let addr = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        Some(PythonAgent {
            addr,
            child,
            sessions,
            errors,
        })
    }

    /// The sides of all these sessions, once they have ended. Unbounded: wrap it in
    /// [`super::within`].
    pub async fn sides(&self, names: &[String]) -> HashMap<String, Side> {
        let all = |log: &Log| {
            if log.lines().len() <= names.len() {
                return None;
            }
            let sides: HashMap<String, Side> = log.json().iter().filter_map(side).collect();
            names
                .iter()
                .all(|name| sides.contains_key(name))
                .then_some(sides)
        };
        let sides = self.sessions.find(all).await;
        sides.unwrap_or_else(|| panic!("the Python agent ended:\n{}", self.errors))
    }
}

fn side(line: &Value) -> Option<(String, Side)> {
    let name = line.get("session")?.as_str()?.to_owned();
    let code = line["close"].as_u64();
    let side = Side {
        sent: line["sent"].as_u64()?,
        received: line["received"]
            .as_array()?
            .iter()
            .filter_map(Value::as_u64)
            .collect(),
        close: code.map(|code| Close {
            code: code as u16,
            at: Instant::now(),
        }),
        end: Some(if line["clean"].as_bool()? {
            End::Fin
        } else {
            End::Reset
        }),
        ..Side::default()
    };
    Some((name, side))
}

impl Drop for PythonAgent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the Python agent's errors:\n{}---", self.errors);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
