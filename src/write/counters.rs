//! What a layer counts of its requests and lines, for its handle and for exporters.

use std::sync::atomic::Ordering;

use crate::{
    hold::{request::Request, stripes::Stripes},
    write::facade::Facade,
};

/// The stripes, and the exporters, which get the same counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) stripes: Stripes,
    pub(crate) facade: Facade,
}

impl Counters {
    /// Counts a request that was created.
    pub(crate) fn count_created(&self) {
        self.facade.created();
        self.stripes.stripe().open_requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that has ended.
    pub(crate) fn count_ended(&self, request: &Request) {
        if !request.encloses_request.load(Ordering::Relaxed) {
            self.count_no_longer_open();
        }
    }

    /// Notes that a request encloses another one, and so no longer counts as open.
    pub(crate) fn count_enclosing(&self, request: &Request) {
        if !request.encloses_request.swap(true, Ordering::Relaxed) {
            self.count_no_longer_open();
        }
    }

    fn count_no_longer_open(&self) {
        self.stripes.stripe().open_requests.fetch_sub(1, Ordering::Relaxed);
        self.facade.ended();
    }

    /// Counts a line as written or lost.
    pub(crate) fn count_line(&self, is_written: bool) {
        self.stripes.count_line(is_written);
        self.facade.line(is_written, 0);
    }

    /// Counts a line that was not kept.
    pub(crate) fn count_left_out(&self, warnings: usize) {
        self.stripes.stripe().lines_left_out.fetch_add(1, Ordering::Relaxed);
        self.count_warnings(warnings);
    }

    /// Counts the warnings in a line.
    pub(crate) fn count_warnings(&self, warnings: usize) {
        if warnings > 0 {
            self.stripes.stripe().warnings.fetch_add(warnings as u64, Ordering::Relaxed);
            self.facade.line(true, warnings);
        }
    }
}
