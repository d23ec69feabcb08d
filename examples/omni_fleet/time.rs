//! Simulated time: it jumps to the next moment for which a task waits.

use std::{
    cell::{Cell, RefCell},
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use futures_executor::LocalPool;

/// The true clock of the fleet: nanoseconds since its start.
#[derive(Clone, Default)]
pub(crate) struct Time(Rc<State>);

#[derive(Default)]
struct State {
    now: Cell<u64>,
    sleepers: RefCell<BinaryHeap<Reverse<Sleeper>>>,
    /// How many tasks have slept so far: those that wake at one moment do so in the order in which they fell
    /// asleep.
    slept: Cell<u64>,
}

struct Sleeper {
    key: (u64, u64),
    waker: Waker,
}

impl Time {
    pub(crate) fn now(&self) -> u64 {
        self.0.now.get()
    }

    /// Wakes a task at a moment.
    pub(crate) fn wake_at(&self, at: u64, waker: &Waker) {
        let slept = self.0.slept.get();
        self.0.slept.set(slept + 1);
        self.0.sleepers.borrow_mut().push(Reverse(Sleeper { key: (at, slept), waker: waker.clone() }));
    }

    pub(crate) async fn until(&self, at: u64) {
        poll_fn(|context| {
            if self.now() >= at {
                return Poll::Ready(());
            }
            self.wake_at(at, context.waker());
            Poll::Pending
        })
        .await;
    }

    pub(crate) async fn sleep(&self, nanos: u64) {
        self.until(self.now() + nanos).await;
    }

    /// Runs all tasks until each has ended or waits for something that never comes.
    pub(crate) fn run(&self, tasks: &mut LocalPool) {
        loop {
            tasks.run_until_stalled();
            let Some(Reverse(sleeper)) = self.0.sleepers.borrow_mut().pop() else { return };
            self.0.now.set(self.now().max(sleeper.key.0));
            sleeper.waker.wake();
        }
    }
}

impl Ord for Sleeper {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key)
    }
}

impl PartialOrd for Sleeper {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sleeper {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Sleeper {}
