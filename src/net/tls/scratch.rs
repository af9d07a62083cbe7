//! One buffer a thread, for ciphertext on its way: an idle connection needs none of its own.

use std::cell::RefCell;

use super::layer::SCRATCH;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::default();
}

/// Lends the buffer of [`SCRATCH`] bytes for the time of `f`, which must not ask for it again.
pub(super) fn with<T>(f: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.is_empty() {
            *buffer = vec![0; SCRATCH].into_boxed_slice();
        }
        f(buffer)
    })
}
