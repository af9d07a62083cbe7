//! What one part has seen of the pod and another has use for.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is seen of the pod.
#[derive(Debug, Default)]
pub(super) struct Seen {
    uid: OnceLock<String>,
    deleted: AtomicBool,
}

impl Seen {
    /// The pod has this uid, which never changes.
    pub(super) fn uid_is(&self, uid: &str) {
        self.uid.get_or_init(|| uid.to_owned());
    }

    /// The pod's uid, once it is known.
    pub(super) fn uid(&self) -> Option<&str> {
        self.uid.get().map(String::as_str)
    }

    /// The pod is being deleted.
    pub(super) fn delete(&self) {
        self.deleted.store(true, Ordering::Relaxed);
    }

    /// Whether the pod is known to be being deleted.
    pub(super) fn is_deleted(&self) -> bool {
        self.deleted.load(Ordering::Relaxed)
    }
}
