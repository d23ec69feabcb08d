//! How many lines of each kind a log has.

use super::{amount::amount, history::Trace, unjoined::unjoined};

/// How many lines of each kind were read.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct LineCounts {
    /// Lines of the layer.
    pub(super) lines: u64,
    /// Those of requests.
    pub(super) requests: u64,
    /// Lines of other programs.
    pub(super) foreign: u64,
    /// Those of them that have a line of the layer past their beginning.
    pub(super) hidden: u64,
    /// Lines of the layer that are cut or garbled.
    pub(super) broken: u64,
    /// Lines of the layer with a schema that this reader does not know.
    pub(super) unknown: u64,
    /// Lines that occurred before.
    pub(super) doubles: u64,
    /// Whether a line may have occurred before that is not remembered, so that `doubles` may be too few.
    pub(super) has_forgotten: bool,
    /// Detached rows that came after the line of their request, in the same file.
    pub(super) late: u64,
    /// Other detached rows that name a request.
    pub(super) rows_of_workers: u64,
    /// Whether one of them names a request that has a line: `join` puts it there.
    pub(super) has_joinable_rows: bool,
    /// Lines that `--since` or `--until` leaves out. They count in none of the above.
    pub(super) outside: u64,
    /// Lines that `--where` leaves out.
    pub(super) unmatched: u64,
}

impl LineCounts {
    /// Counts a line of the layer; `is_late` if it is a row that came after the line of its request.
    pub(super) fn add(&mut self, trace: Option<Trace>, is_late: bool) {
        let is_row = trace.is_some_and(Trace::is_row_with_id);
        self.lines += 1;
        self.requests += u64::from(trace.is_some_and(|trace| trace.is_request));
        self.late += u64::from(is_late);
        self.rows_of_workers += u64::from(is_row && !is_late);
    }

    /// What precedes the number of lines that occur twice in a sentence.
    pub(super) fn at_least(&self) -> &'static str {
        if self.has_forgotten { "at least " } else { "" }
    }

    /// Lines of the layer, selected or not.
    pub(super) fn of_layer(&self) -> u64 {
        self.lines + self.outside + self.unmatched
    }

    /// That the log needs `join`, if it does. Rows that `join --keep-rows` has written go into no request.
    pub(super) fn unjoined(&self) -> Option<String> {
        let has_requests = self.requests > 0;
        let is_unjoined = self.has_joinable_rows || self.rows_of_workers > 0 && !has_requests;
        is_unjoined.then(|| unjoined(self.rows_of_workers, has_requests))
    }

    /// That lines of the layer were passed over because of a text before them.
    pub(super) fn hidden_sentence(&self) -> Option<String> {
        let (one, many) = ("foreign line has", "foreign lines have");
        (self.hidden > 0).then(|| {
            format!(
                "{} `{{\"type\":\"…\",\"schema\":` past the beginning: a line must begin with it, or with \
                 the prefix of Kubernetes (CRI), kubectl, Docker, docker compose or `journalctl -o json`",
                amount(self.hidden, one, many)
            )
        })
    }
}
