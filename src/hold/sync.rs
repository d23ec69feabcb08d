//! The locks and atomics of shared state: those of the standard library, or, for the check of interleavings,
//! those of the `shuttle` scheduler (`RUSTFLAGS="--cfg omni_shuttle" cargo test --lib interleaving`).

pub(crate) use std::sync::PoisonError;

#[cfg(omni_shuttle)]
pub(crate) use shuttle::{
    sync::{Mutex, MutexGuard, atomic},
    thread::LocalKey,
    thread_local,
};
#[cfg(not(omni_shuttle))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard, atomic},
    thread::LocalKey,
    thread_local,
};
