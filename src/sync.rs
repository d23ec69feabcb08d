//! The locks and atomics of what is held: the standard library's, or those of a scheduler that tries
//! interleavings (`RUSTFLAGS="--cfg omni_shuttle" cargo test --lib interleaving`).

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
