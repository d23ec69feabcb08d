//! The way from the thinker to the talker: a channel, and a `transfer` span on each end of it.

use std::sync::mpsc::{self, Receiver, Sender};

use tokio::sync::mpsc::UnboundedSender;
use tracing::{field::Empty, info_span};

use crate::{answer::Event, request::Request, timers::Visit};

/// Why a sequence ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The model said so.
    Stop,
    /// It has as many tokens as the client asked for.
    Length,
    /// The client has gone.
    Abort,
    /// A step failed.
    Failed(String),
}

/// Some tokens of a sequence.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) request: Request,
    pub(crate) events: UnboundedSender<Event>,
    /// The same for all chunks of a sequence.
    pub(crate) sequence: u64,
    pub(crate) tokens: Vec<u32>,
    /// With the last chunk.
    pub(crate) ending: Option<Ending>,
}

/// A chunk on its way. The tokens are encoded as they would be between two processes.
struct Message {
    chunk: Chunk,
    bytes: Vec<u8>,
}

pub(crate) struct Outbox(Sender<Message>);

pub(crate) struct Inbox(Receiver<Message>);

/// The queue has no limit of its own: the sequences that run have one, and the tokens of each.
pub(crate) fn hop() -> (Outbox, Inbox) {
    let (sender, receiver) = mpsc::channel();
    (Outbox(sender), Inbox(receiver))
}

impl Outbox {
    pub(crate) fn send(&self, chunk: Chunk) {
        let request = chunk.request.clone();
        let span = info_span!(
            parent: request.span(),
            "transfer", from_stage = 0, to_stage = 1, phase = "tx", size_bytes = Empty
        );
        let (bytes, visit) = Visit::to(&span, || encode(&chunk.tokens));
        // The bytes of a hop are recorded on one half only, because the halves are added up.
        span.record("size_bytes", bytes.len());
        let mut times = request.times();
        times.sent.push(visit);
        times.bytes += bytes.len() as u64;
        drop(times);
        // The span has been exited by now. If the message could arrive before, the time in flight would be
        // negative.
        let _ = self.0.send(Message { chunk, bytes });
    }
}

impl Inbox {
    /// Waits for a message; `None` when the thinker has ended.
    pub(crate) fn receive(&self) -> Option<Chunk> {
        self.0.recv().ok().map(Message::receive)
    }

    /// A message that is there already.
    pub(crate) fn next(&self) -> Option<Chunk> {
        self.0.try_recv().ok().map(Message::receive)
    }
}

impl Message {
    fn receive(self) -> Chunk {
        let Self { mut chunk, bytes } = self;
        let span = info_span!(
            parent: chunk.request.span(),
            "transfer", from_stage = 0, to_stage = 1, phase = "rx"
        );
        let (tokens, visit) = Visit::to(&span, || decode(&bytes));
        chunk.request.times().received.push(visit);
        chunk.tokens = tokens;
        chunk
    }
}

fn encode(tokens: &[u32]) -> Vec<u8> {
    tokens.iter().flat_map(|token| token.to_le_bytes()).collect()
}

fn decode(bytes: &[u8]) -> Vec<u32> {
    let (tokens, _) = bytes.as_chunks();
    tokens.iter().map(|token| u32::from_le_bytes(*token)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_decoded_as_they_were_encoded() {
        assert_eq!(decode(&encode(&[0, 256, u32::MAX])), [0, 256, u32::MAX]);
    }
}
