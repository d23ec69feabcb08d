//! Detached rows: rows whose request is not open in this process. Each is a line.

use std::sync::Arc;

use tracing::span::Id;

use crate::{
    Detached, Format, Millis, SCHEMA,
    fold::{
        closed::Closed,
        edge::Edge,
        hops::Flights,
        intervals::Intervals,
        stage::Stage,
        walls::{WALL_LIMIT, warn_of_wall},
    },
    model::{keep::Kept, line::TraceIds, warnings::Warnings},
    record::recorder::Recorder,
    write::lines,
};

/// Builds and writes the line of a span that belongs to no open request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DetachedRows<'a> {
    /// The id of the span.
    pub(crate) id: &'a Id,
    pub(crate) recorder: &'a Recorder,
}

impl DetachedRows<'_> {
    pub(crate) fn stage(self, closed: &mut Closed<'_>, is_part: bool, request_id: Option<Arc<str>>) {
        let stage_id = closed.fields.stage().stage_id;
        let mut stage = Stage::new(stage_id);
        let mut warnings = Warnings::default();
        warnings.extend(&closed.fields.warnings);
        stage.add(closed, is_part, &mut warnings);
        match stage_id {
            Some(id) if id >= WALL_LIMIT => warn_of_wall(&mut warnings, id),
            _ => {}
        }
        stage.finish(None, &mut warnings);
        self.recorder.shared.count_stage(&stage);
        let row = stage.detach(&closed.measured);
        let Some(line) = self.line(row, closed, request_id, warnings) else { return };
        self.recorder.writing.output.emit(&self.recorder.shared.counters, &line.warnings, |out, format| {
            match format {
                Format::Json => lines::write_stage(out, &line),
                #[cfg(feature = "tables")]
                Format::Table => crate::write::text::append(out, &line),
            }
        });
    }

    pub(crate) fn transfer(
        self,
        closed: &mut Closed<'_>,
        sent_at: Option<i64>,
        request_id: Option<Arc<str>>,
    ) {
        let numbers = closed.fields.transfer();
        let mut edge = Edge::new((numbers.from_stage, numbers.to_stage));
        let (mut flights, mut warnings) = (Flights::new(), Warnings::default());
        warnings.extend(&closed.fields.warnings);
        edge.add(closed, sent_at, &mut flights, &mut warnings);
        edge.match_rest(&mut flights, &mut warnings);
        edge.add_flights(&flights, &mut Intervals::default(), &mut warnings);
        edge.finish(None, &mut warnings);
        self.recorder.shared.count_transfer(&edge.row);
        let mut row = edge.row;
        row.wall_time_ms = Some(Millis::from_nanos(closed.measured.span_time()));
        let Some(line) = self.line(row, closed, request_id, warnings) else { return };
        self.recorder.writing.output.emit(&self.recorder.shared.counters, &line.warnings, |out, format| {
            match format {
                Format::Json => lines::write_transfer(out, &line),
                #[cfg(feature = "tables")]
                Format::Table => crate::write::text::append(out, &line),
            }
        });
    }

    /// The line, if it is kept.
    fn line<Row>(
        self,
        row: Row,
        closed: &Closed<'_>,
        request_id: Option<Arc<str>>,
        mut warnings: Warnings,
    ) -> Option<Detached<Row>> {
        let sample_rate = match self.recorder.writing.keep.row(request_id.as_deref()) {
            Kept::Line(sample_rate) => sample_rate,
            Kept::LeftOut => {
                self.recorder.shared.counters.count_left_out(warnings.as_slice().len());
                return None;
            }
        };
        self.recorder.shared.near_misses.take_waiting(&mut warnings);
        let TraceIds { trace_id, span_id } = self.recorder.otel.ids(self.id);
        Some(Detached {
            schema: SCHEMA,
            timestamp: self.recorder.writing.clock.timestamp(closed.measured.end),
            request_id: request_id.as_deref().map(str::to_owned),
            sample_rate,
            row,
            trace_id,
            span_id,
            warnings: warnings.into_vec(),
        })
    }
}
