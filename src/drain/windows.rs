//! How long there is for a drain, as far as it is known.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::config::Window;

/// Who says how long there is: a platform's word, or the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Length {
    /// So long.
    pub length: Duration,
    /// Says who.
    pub source: Arc<str>,
}

/// The windows that are known. Written as platforms tell of theirs, read when a drain begins.
#[derive(Clone, Debug)]
pub struct Windows {
    configured: Arc<Mutex<Window>>,
    known: Arc<Mutex<BTreeMap<Arc<str>, Duration>>>,
}

impl Windows {
    /// What is known before any platform has spoken.
    pub fn new(configured: Window) -> Windows {
        Windows {
            configured: Arc::new(Mutex::new(configured)),
            known: Arc::default(),
        }
    }

    /// What is configured from now on.
    pub fn configure(&self, window: Window) {
        *self
            .configured
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = window;
    }

    fn configured(&self) -> Window {
        *self
            .configured
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether what platforms say is heeded; there is no need to ask them otherwise.
    pub fn are_wanted(&self) -> bool {
        self.configured().auto
    }

    /// Takes a platform's word; a later one of the same source replaces it.
    pub fn learn(&self, source: &str, length: Duration) {
        let before = self.lock().insert(source.into(), length);
        if self.configured().auto && before != Some(length) {
            tracing::info!(source, ?length, "window known");
        }
    }

    /// What every source said.
    pub fn known(&self) -> BTreeMap<Arc<str>, Duration> {
        self.lock().clone()
    }

    /// What a drain gets that begins now and asks for nothing else: with `auto` the shortest of what
    /// is known, and the default as long as nothing is.
    pub fn now(&self) -> Length {
        let known = self.lock();
        let shortest = known.iter().min_by_key(|(_, length)| **length);
        match shortest {
            Some((source, length)) if self.configured().auto => Length {
                length: *length,
                source: Arc::clone(source),
            },
            _ => Length {
                length: self.configured().length,
                source: if self.configured().auto {
                    "default".into()
                } else {
                    "configured".into()
                },
            },
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Arc<str>, Duration>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn auto_is_the_shortest_that_is_known() {
        let windows = Windows::new(Window {
            length: secs(300),
            auto: true,
        });
        let told = |windows: &Windows| {
            let now = windows.now();
            (now.length.as_secs(), now.source.to_string())
        };
        assert_eq!(told(&windows), (300, "default".to_owned()));
        windows.learn("hook", secs(900));
        assert_eq!(told(&windows), (900, "hook".to_owned()));
        windows.learn("target group", secs(120));
        assert_eq!(told(&windows), (120, "target group".to_owned()));
        windows.learn("target group", secs(1200));
        assert_eq!(told(&windows), (900, "hook".to_owned()));
    }

    #[test]
    fn what_is_configured_goes_over_what_is_known() {
        let windows = Windows::new(Window::of(secs(60)));
        windows.learn("hook", secs(30));
        assert_eq!(windows.now().length, secs(60));
        assert!(!windows.are_wanted());
    }
}
