//! A lock that is held for a few instructions, and that two threads hardly ever want at once.
//!
//! The lock of the standard library is released by a second locked instruction, which finds out whether a
//! thread waits. On a server with 2 GHz, a locked instruction took 10 ns; with this lock, creating and
//! closing a stage took 0.94 of the time, and so did an output.

#[cfg(not(omni_shuttle))]
mod lock {
    use std::{thread, time::Duration};

    use spin::{
        mutex::{SpinMutex, SpinMutexGuard},
        relax::RelaxStrategy,
    };

    pub(crate) type BriefLock<T> = SpinMutex<T, Nap>;
    pub(crate) type Locked<'a, T> = SpinMutexGuard<'a, T>;

    /// How a thread waits: the system has interrupted the one that holds the lock. A thread that only tried
    /// again might keep it from running, if its own priority is higher.
    #[derive(Debug)]
    pub(crate) struct Nap;

    impl RelaxStrategy for Nap {
        fn relax() {
            thread::sleep(Duration::from_micros(1));
        }
    }
}

#[cfg(omni_shuttle)]
mod lock {
    use std::sync::PoisonError;

    use shuttle::sync::{Mutex, MutexGuard};

    #[derive(Debug, Default)]
    pub(crate) struct BriefLock<T>(Mutex<T>);
    pub(crate) type Locked<'a, T> = MutexGuard<'a, T>;

    impl<T> BriefLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> Locked<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

pub(crate) use lock::{BriefLock, Locked};
