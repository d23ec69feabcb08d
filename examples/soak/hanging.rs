//! Requests that hang until a report has named them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use omni_metrics::{Line, OpenLine};
use tracing::{Span, info_span};

/// How often to look whether it has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Of the ids of requests that hang.
pub(crate) const PREFIX: &str = "hung-";

/// How a request hangs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    /// In a stage that does not end.
    Works,
    /// In the queue of a stage.
    Waits,
    /// It was answered, and its last stage does not end.
    Answered,
}

/// What became of the requests that hung.
#[derive(Debug, Default)]
pub(crate) struct Hung {
    pub(crate) requests: u64,
    /// No report was seen to name them.
    pub(crate) unreported: u64,
    /// The ids of these. The line may wait in the queue, behind a slow writer.
    given_up: BTreeSet<String>,
    pub(crate) faults: Vec<String>,
}

impl Hung {
    /// Opens a few requests again and again, and closes each one when a report has named it. `reported` has
    /// the lines of open requests as they reach the writer. After `patience`, requests close unnamed.
    pub(crate) fn drive(running: &AtomicBool, reported: &mpsc::Receiver<String>, patience: Duration) -> Self {
        let mut hung = Self::default();
        while running.load(Ordering::Relaxed) {
            let requests = [How::Works, How::Waits, How::Answered].map(|how| {
                hung.requests += 1;
                let id = id(hung.requests);
                let spans = open(&id, how);
                (id, (how, spans))
            });
            let mut open = BTreeMap::from(requests);
            let since = Instant::now();
            while !open.is_empty() && since.elapsed() < patience {
                if let Ok(line) = reported.recv_timeout(LOOK) {
                    hung.close(&line, &mut open);
                }
            }
            hung.unreported += open.len() as u64;
            hung.given_up.extend(open.into_keys());
        }
        hung
    }

    fn close(&mut self, text: &str, open: &mut BTreeMap<String, (How, Vec<Span>)>) {
        let Ok(Line::Open(line)) = text.parse() else {
            self.faults.push(format!("not the line of an open request: {text}"));
            return;
        };
        let Some(id) = &line.request.request_id else { return };
        match open.remove(id) {
            Some((how, _closes)) if !is_right(&line, how) => {
                self.faults.push(format!("it hangs otherwise ({how:?}): {text}"));
            }
            Some(_) => {}
            None if self.given_up.remove(id) => self.unreported -= 1,
            None if id.starts_with(PREFIX) => self.faults.push(format!("it was open no more: {text}")),
            // Other traffic, on a busy machine.
            None => {}
        }
    }
}

/// Of a sequence of their own, since they close long after those that began with them.
pub(crate) fn id(number: u64) -> String {
    format!("{PREFIX}{number}")
}

fn open(id: &str, how: How) -> Vec<Span> {
    // It counts as failed, so that it has a line.
    let request = info_span!("request", request_id = id, finish_reason = "error");
    let stage = info_span!("stage", stage_id = 1, request_id = id);
    if how != How::Waits {
        stage.in_scope(|| ());
    }
    if how == How::Answered { vec![stage] } else { vec![stage, request] }
}

fn is_right(line: &OpenLine, how: How) -> bool {
    let request = &line.request;
    let [stage] = &request.open_stages[..] else { return false };
    request.in_stages == [1]
        && stage.is_waiting == (how == How::Waits)
        && request.is_answered == (how == How::Answered)
}
