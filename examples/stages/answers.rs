//! Who waits for which request's answer.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::oneshot;

/// By the id of the request, by which the stages know it.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    waiting: Arc<Mutex<HashMap<String, oneshot::Sender<T>>>>,
}

impl<T> Answers<T> {
    pub(crate) fn new() -> Self {
        Self { waiting: Arc::default() }
    }

    pub(crate) fn expect(&self, request_id: &str) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.insert(request_id.to_owned(), sender);
        receiver
    }

    pub(crate) fn give(&self, request_id: &str, answer: T) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = waiting.remove(request_id) {
            // Whoever asked may have stopped waiting.
            let _ = sender.send(answer);
        }
    }
}

impl<T> Clone for Answers<T> {
    fn clone(&self) -> Self {
        Self { waiting: Arc::clone(&self.waiting) }
    }
}
