//! What a worker's thread does in the place of going to sleep.
//!
//! A runtime is told of this as it is built, long before there is anybody who wants it; so it is kept by the thread.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

thread_local! {
    static INSTEAD: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// As long as this lives, the thread does what it was told before it goes to sleep.
#[must_use]
#[derive(Debug)]
pub struct Awake {
    /// It is this thread's.
    on_this_thread: PhantomData<*const ()>,
}

/// Has this done on this thread whenever its runtime has nothing left to do, in the place of what was to be done before.
pub fn instead_of_sleep(f: impl Fn() + 'static) -> Awake {
    INSTEAD.set(Some(Rc::new(f)));
    Awake {
        on_this_thread: PhantomData,
    }
}

/// Does it; for `Builder::on_thread_park`.
pub fn nothing_left_to_do() {
    let instead = INSTEAD.with_borrow(Clone::clone);
    if let Some(instead) = instead {
        instead();
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        INSTEAD.set(None);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn it_is_done_as_long_as_somebody_wants_it() {
        let done = Rc::new(Cell::new(0));
        let count = Rc::clone(&done);
        nothing_left_to_do();
        let awake = instead_of_sleep(move || count.set(count.get() + 1));
        nothing_left_to_do();
        std::thread::spawn(nothing_left_to_do).join().unwrap();
        drop(awake);
        nothing_left_to_do();
        assert_eq!(done.get(), 1);
        assert_eq!(Rc::strong_count(&done), 1);
    }
}
