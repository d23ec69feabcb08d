//! Who waits for what the stages make.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{
    mpsc::{self, UnboundedReceiver, UnboundedSender},
    oneshot,
};
use tracing::Span;

use crate::{
    hang::Hang,
    stages::{
        Result,
        code2wav::{Sink, Spoken},
        ticket::Ticket,
    },
};

/// What the stages make for a request. When it is dropped, they notice, and don't go on for nothing.
pub(crate) struct Streams {
    pub(crate) pieces: UnboundedReceiver<String>,
    pub(crate) sound: UnboundedReceiver<Vec<i16>>,
    pub(crate) spoken: oneshot::Receiver<Result<Spoken>>,
}

/// The requests that stages are working for. They know a request by its id only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    waiting: Arc<Mutex<HashMap<String, Waiting>>>,
    taken: Arc<Mutex<HashSet<String>>>,
}

#[derive(Debug)]
struct Waiting {
    sound: UnboundedSender<Vec<i16>>,
    spoken: oneshot::Sender<Result<Spoken>>,
    /// Keeps a request open that its client has left, until the stages let go of it.
    _request: Span,
    _id: Arc<Id>,
}

/// An id in use: until the stages are done with its request, and its answer has been sent.
#[derive(Debug)]
pub(crate) struct Id {
    id: String,
    taken: Arc<Mutex<HashSet<String>>>,
}

impl Drop for Id {
    fn drop(&mut self) {
        lock(&self.taken).remove(&self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Answers {
    /// Makes room for the answer of a request, within its span; `None` if there is one with that id.
    pub(crate) fn expect(&self, request_id: &str) -> Option<(UnboundedSender<String>, Streams, Arc<Id>)> {
        if !lock(&self.taken).insert(request_id.to_owned()) {
            return None;
        }
        let id = Arc::new(Id { id: request_id.to_owned(), taken: Arc::clone(&self.taken) });
        // Not bounded, since a client that reads slowly must not hold up the batch that its request is in.
        // How much there can be is bounded by the tokens that were asked for.
        let ((to_pieces, pieces), (to_sound, sound)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let (to_spoken, spoken) = oneshot::channel();
        let (_request, _id) = (Span::current(), Arc::clone(&id));
        lock(&self.waiting)
            .insert(request_id.to_owned(), Waiting { sound: to_sound, spoken: to_spoken, _request, _id });
        Some((to_pieces, Streams { pieces, sound, spoken }, id))
    }

    fn remove(&self, ticket: &Ticket) -> Option<Waiting> {
        lock(&self.waiting).remove(&ticket.request_id)
    }

    /// Where the sound of each request goes. Some requests may `hang` with the first chunk of it.
    pub(crate) fn sinks(&self, hang: Hang) -> impl Fn(&Ticket) -> Speaker + Send + 'static {
        let answers = self.clone();
        move |ticket| {
            let sound = lock(&answers.waiting).get(&ticket.request_id).map(|waiting| waiting.sound.clone());
            Speaker { sound, answers: answers.clone(), hang: hang.next() }
        }
    }
}

/// A request that is not with the stages yet, from where it would be let go of.
pub(crate) struct Unsent<'a> {
    pub(crate) answers: &'a Answers,
    pub(crate) ticket: Option<Ticket>,
}

impl Drop for Unsent<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = &self.ticket {
            self.answers.remove(ticket);
        }
    }
}

/// The sound of a request, on its way to the client.
pub(crate) struct Speaker {
    sound: Option<UnboundedSender<Vec<i16>>>,
    answers: Answers,
    hang: Option<Hang>,
}

impl Sink for Speaker {
    fn write(&mut self, samples: &[i16]) -> Result<()> {
        if let Some(hang) = self.hang.take() {
            hang.wait();
        }
        let sound = self.sound.as_ref().ok_or("nobody listens")?;
        Ok(sound.send(samples.to_vec())?)
    }

    async fn finish(self, ticket: Ticket, spoken: Result<Spoken>) -> Result<()> {
        if let Some(waiting) = self.answers.remove(&ticket) {
            // The client may have gone.
            let _ = waiting.spoken.send(spoken);
        }
        Ok(())
    }
}
