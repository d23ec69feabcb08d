//! A fault on purpose: a stage that does not come to an end.

use std::{
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{runtime::Handle, sync::watch};

/// Makes every n-th request hang in its last stage until the server stops.
#[derive(Debug, Clone)]
pub(crate) struct Hang {
    /// `None` for none.
    every: Option<NonZeroU64>,
    requests: Arc<AtomicU64>,
    released: watch::Receiver<()>,
}

/// Lets the requests that hang go on when it is dropped.
#[derive(Debug)]
pub(crate) struct Release(#[expect(dead_code, reason = "its drop is what matters")] watch::Sender<()>);

impl Hang {
    pub(crate) fn new(every: Option<NonZeroU64>) -> (Self, Release) {
        let (release, released) = watch::channel(());
        (Self { every, requests: Arc::default(), released }, Release(release))
    }

    /// Whether the next request is one that hangs.
    pub(crate) fn next(&self) -> Option<Self> {
        let every = self.every?.get();
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        number.is_multiple_of(every).then(|| self.clone())
    }

    /// Blocks a thread of the runtime's pool for blocking work until the server stops.
    pub(crate) fn wait(mut self) {
        Handle::current().block_on(async {
            // An error says that the other end was dropped, which is the signal.
            let _ = self.released.changed().await;
        });
    }
}
