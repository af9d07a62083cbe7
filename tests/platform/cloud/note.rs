//! What happened in the cloud, and what it was asked, in one order.

use std::fmt;
use std::time::Instant;

use super::form::Fields;

/// A call, or something that the cloud did.
#[derive(Clone, Debug)]
pub struct Note {
    /// `SERVICE.CALL`, or what happened.
    pub name: String,
    /// When it was asked, or happened.
    pub at: Instant,
    /// When it was answered.
    pub answered: Option<Instant>,
    /// What was asked with it.
    pub fields: Fields,
    /// What was answered: none yet, or nothing at all.
    pub status: Option<u16>,
    /// The answer's body.
    pub body: String,
    /// Seconds since the cloud began, for people.
    second: f64,
}

impl Note {
    /// Whether it has this name, or is a call of this service.
    pub fn is(&self, name: &str) -> bool {
        let rest = self.name.strip_prefix(name);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8.3} {}", self.second, self.name)?;
        for (name, value) in &self.fields {
            write!(f, " {name}={value}")?;
        }
        match self.status {
            Some(status) => write!(f, " -> {status}"),
            None => Ok(()),
        }
    }
}

/// All notes.
pub struct Notes {
    began: Instant,
    all: Vec<Note>,
}

impl Default for Notes {
    fn default() -> Notes {
        Notes {
            began: Instant::now(),
            all: Vec::new(),
        }
    }
}

impl Notes {
    /// All of them, oldest first.
    pub fn all(&self) -> &[Note] {
        &self.all
    }

    /// Notes something that the cloud did.
    pub fn happened(&mut self, what: String) {
        self.add(what, Fields::new());
    }

    /// Notes a call; gives its number.
    pub fn asked(&mut self, name: String, fields: Fields) -> usize {
        self.add(name, fields);
        self.all.len() - 1
    }

    /// Notes the answer to a call.
    pub fn answered(&mut self, number: usize, status: u16, body: &str) {
        let note = &mut self.all[number];
        note.answered = Some(Instant::now());
        note.status = Some(status);
        body.clone_into(&mut note.body);
    }

    fn add(&mut self, name: String, fields: Fields) {
        let at = Instant::now();
        self.all.push(Note {
            name,
            at,
            answered: None,
            fields,
            status: None,
            body: String::new(),
            second: (at - self.began).as_secs_f64(),
        });
    }
}
