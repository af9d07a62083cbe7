//! Certificates that change on disk: looked for every few seconds, and taken if they are good.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::ListenerName;

use super::certificates::{Certificates, files};
use super::server::TlsListener;

/// What tells a file from what it was: device, inode, size, and the moment of its last change. Of a
/// link, that of the file behind it.
type Stamp = Vec<(PathBuf, Option<(u64, u64, u64, i64, i64)>)>;

/// Watches the files of one listener.
#[derive(Debug)]
pub struct Watch {
    name: ListenerName,
    listener: Arc<TlsListener>,
    seen: Option<Stamp>,
    /// The last look has found a change.
    settling: bool,
}

impl Watch {
    /// Watches the files of the listener of this name.
    pub fn new(name: ListenerName, listener: Arc<TlsListener>) -> Watch {
        Watch {
            name,
            listener,
            seen: None,
            settling: false,
        }
    }

    /// Looks whether the files have changed, and takes what is in them if it is good. Sessions that
    /// are open, and handshakes under way, go on with what they have.
    ///
    /// A change is looked at twice: at once, for files that are replaced whole; and when nothing has
    /// changed since. What is no good then is not half-written but wrong, and is told of, once.
    pub fn look(&mut self) {
        let settings = &self.listener.settings;
        let stamp = stamp(&self.listener);
        let changed = self.seen.as_ref() != Some(&stamp);
        if !changed && !self.settling {
            return;
        }
        self.settling = changed;
        self.seen = Some(stamp);
        let reloads = &self.listener.reloads;
        match Certificates::load(settings) {
            Ok(new) if new.is_same(&self.listener.certificates()) => {}
            Ok(new) => {
                tracing::info!(listener = %self.name, "new certificates are in use");
                self.listener.shown.replace(new);
                reloads.taken.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) if changed => {}
            Err(faults) => {
                reloads.refused.fetch_add(1, Ordering::Relaxed);
                let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
                let faults = faults.join("; ");
                tracing::error!(
                    listener = %self.name, %faults,
                    "the new certificates are no good: the old ones stay in use"
                );
            }
        }
    }
}

fn stamp(listener: &TlsListener) -> Stamp {
    let mut stamp = Vec::new();
    for (_, certificate, key) in files(&listener.settings).unwrap_or_default() {
        for path in [certificate, key] {
            let facts = fs::metadata(&path).ok().map(|facts| {
                let (seconds, nanos) = (facts.mtime(), facts.mtime_nsec());
                (facts.dev(), facts.ino(), facts.size(), seconds, nanos)
            });
            stamp.push((path, facts));
        }
    }
    stamp
}
