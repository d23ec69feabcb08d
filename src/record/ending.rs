//! A request that ends: it is folded, counted, and written.

use std::{mem, sync::Arc};

use crate::{
    E2eTable, Format,
    fold::{
        closed::Closed,
        request::{Folded, Rows},
    },
    hold::request::{Answered, Ended, Request},
    model::{keep::Kept, line::TraceIds, warnings::Warnings},
    shared::{Shared, Writing},
    write::lines::{self, RequestParts},
};

impl Shared {
    /// Counts a complete request and writes its line. `trace` gets the numbers and returns the ids of the
    /// OpenTelemetry span.
    pub(crate) fn end_request(
        self: &Arc<Self>,
        writing: &Writing,
        request: Arc<Request>,
        ended: Ended,
        mut closed: Closed<'_>,
        request_id: &str,
        trace: impl FnOnce(&E2eTable, &Rows, &mut Warnings) -> TraceIds,
    ) {
        self.counters.count_ended(&request);
        let mut rows = match ended {
            Ended::Counted(rows) => rows,
            Ended::Wrapper(mut warnings) => return self.near_misses.wait_all(&mut warnings),
        };
        let Folded { end, e2e, mut warnings } = rows.fold(&mut closed);
        let trace = trace(&e2e, &rows, &mut warnings);
        self.counters.facade.add(
            &closed.fields.further,
            &e2e,
            rows.stages_with_gaps(),
            rows.transfer_table(),
        );
        let mut summary = mem::take(&mut rows.summary);
        self.count_request(request.created, end, &e2e, &rows, &mut summary);
        rows.summary = summary;
        let sample_rate = match writing.keep.request(request_id, &e2e, !warnings.as_slice().is_empty()) {
            Kept::Line(sample_rate) => sample_rate,
            Kept::LeftOut => {
                self.counters.count_left_out(warnings.as_slice().len());
                return Request::keep(request, rows);
            }
        };
        self.near_misses.take_waiting(&mut warnings);
        let parts = RequestParts {
            timestamp: writing.clock.timestamp(end),
            request_id,
            sample_rate,
            summary: &rows.summary,
            e2e: &e2e,
            trace_id: trace.trace_id.as_deref(),
            span_id: trace.span_id.as_deref(),
            fields: &closed.fields.further,
            warnings: warnings.as_slice(),
        };
        let (stages, transfers) = (rows.stage_table(), rows.transfer_table());
        writing.output.emit(&self.counters, parts.warnings, |out, format| match format {
            Format::Json => lines::write_request(out, &parts, stages, transfers),
            #[cfg(feature = "tables")]
            Format::Table => crate::write::text::append(out, &parts.to_line(stages, transfers)),
        });
        Request::keep(request, rows);
    }

    /// Writes the lines of answered requests whose last hold was dropped.
    #[inline(always)]
    pub(crate) fn write_due(self: &Arc<Self>, writing: &Writing) {
        if self.answered.has_due() {
            self.write_what_is_due(writing);
        }
    }

    #[cold]
    fn write_what_is_due(self: &Arc<Self>, writing: &Writing) {
        while let Some(request) = self.answered.next_due() {
            if let Some((ended, answered)) = request.close_answered(false) {
                self.end_answered(writing, request, ended, *answered);
            }
        }
    }

    /// Writes the lines of all answered requests as they stand.
    pub(crate) fn write_answered(self: &Arc<Self>, writing: &Writing) {
        while let Some(request) = self.answered.oldest() {
            match request.close_answered(true) {
                Some((ended, answered)) => self.end_answered(writing, request, ended, *answered),
                None => self.answered.remove(request.age()),
            }
        }
    }

    #[cold]
    fn end_answered(
        self: &Arc<Self>,
        writing: &Writing,
        request: Arc<Request>,
        ended: Ended,
        answered: Answered,
    ) {
        let Answered { measured, mut fields, request_id, trace, among, moment: _ } = answered;
        among.remove(request.age());
        self.requests.remove(Some(&request_id), &request);
        let closed = Closed {
            measured,
            fields: &mut fields,
            preprocess: None,
            batch: None,
            place: 0,
            is_shared: false,
        };
        self.end_request(writing, request, ended, closed, &request_id, |_, _, _| trace);
    }
}
