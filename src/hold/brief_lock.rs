//! A lock that is held briefly, never over user code or I/O, and that two threads hardly ever want at once:
//! that of an open span, a request, a stripe, or the run.
//!
//! The lock of the standard library is released by a second locked instruction, which finds out whether a
//! thread waits. On a server with 2 GHz, a locked instruction took 10 ns; with this lock, creating and
//! closing a stage took 0.94 of the time, and so did an output.

#[cfg(not(omni_shuttle))]
mod lock {
    use std::{hint, thread, time::Duration};

    use spin::{
        mutex::{SpinMutex, SpinMutexGuard},
        relax::RelaxStrategy,
    };

    /// How often a thread tries again before it sleeps.
    const TRIES: usize = 100;

    #[derive(Debug, Default)]
    pub(crate) struct BriefLock<T>(SpinMutex<T, Nap>);

    pub(crate) type Locked<'a, T> = SpinMutexGuard<'a, T>;

    impl<T> BriefLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(SpinMutex::new(value))
        }

        #[inline(always)]
        pub(crate) fn lock(&self) -> Locked<'_, T> {
            self.0.try_lock().unwrap_or_else(|| self.wait())
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut()
        }

        #[cold]
        fn wait(&self) -> Locked<'_, T> {
            let mut tries = (0..TRIES).map(|_| {
                hint::spin_loop();
                self.0.try_lock()
            });
            tries.find_map(|locked| locked).unwrap_or_else(|| self.0.lock())
        }
    }

    /// How a thread waits for one that the system has interrupted. If it only tried again, and its priority
    /// were higher, the other one would never run.
    #[derive(Debug)]
    struct Nap;

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

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
        }
    }
}

pub(crate) use lock::{BriefLock, Locked};
