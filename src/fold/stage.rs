//! A row of the stage table under construction.

use crate::{
    Fields, Millis, StageRow,
    fold::{closed::Closed, fields::StageNumbers, further::merge_further, walls::StageWall},
    model::{kind::Kind, moment::earliest, numbers::Table, warnings::Warnings},
};

/// The row of one stage in one request. Moments are kept as they are until the creation of the request, from
/// which they count, is known.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) row: StageRow,
    first_enter: Option<u64>,
    last_exit: Option<u64>,
    first_output: Option<u64>,
    wall: Option<(u64, u64)>,
    /// Whether neither `preprocess_time_ms` nor `stage_gen_time_ms` was recorded on any span. Then the first
    /// is a part of the second.
    is_measured: bool,
}

impl Stage {
    pub(crate) fn new(id: Option<u64>) -> Self {
        Self {
            row: StageRow { stage_id: id, ..StageRow::default() },
            first_enter: None,
            last_exit: None,
            first_output: None,
            wall: None,
            is_measured: true,
        }
    }

    /// Adds one span. For a part of an enclosing stage (`is_part`), its times are not added.
    pub(crate) fn add(
        &mut self,
        span: &mut Closed<'_>,
        numbers: &StageNumbers,
        is_part: bool,
        warnings: &mut Warnings,
    ) {
        let measured = span.measured;
        let first_enter = measured.activity.map(|(first, _)| first);
        let preprocess_time = numbers.preprocess_time.or(span.preprocess);
        self.is_measured &=
            numbers.preprocess_time.is_none() && (is_part || numbers.stage_gen_time.is_none());
        let gen_time = numbers.stage_gen_time.unwrap_or(measured.span_time());
        let queue_time = first_enter.map(|first| first.saturating_sub(measured.created));
        let whole = |nanos: Option<u64>| nanos.filter(|_| !is_part).map(Millis::from_nanos);
        let of_span = StageRow {
            stage_id: self.row.stage_id,
            batch_id: numbers.batch_id,
            batch_size: numbers.batch_size.or(span.batch),
            num_tokens_in: numbers.num_tokens_in,
            num_tokens_out: numbers.num_tokens_out,
            preprocess_time_ms: preprocess_time.map(Millis::from_nanos),
            stage_gen_time_ms: whole(Some(gen_time)),
            stage_name: span.label(),
            busy_time_ms: whole(Some(measured.busy)),
            queue_time_ms: whole(queue_time),
            // `finish` knows these, and whoever writes a detached row the next two.
            start_ms: None,
            first_output_ms: None,
            time_per_output_token_ms: None,
            wall_time_ms: None,
            first_output_after_ms: None,
            events: 1,
            fields: Fields::new(),
        };
        self.row.merge(of_span, warnings);
        if let Some(further) = span.further() {
            merge_further(&mut self.row.fields, further, Kind::Stage, warnings);
        }
        self.first_enter = earliest(self.first_enter, first_enter);
        self.last_exit = self.last_exit.max(measured.activity.map(|(_, last)| last));
        self.first_output = earliest(self.first_output, span.fields.first_output);
        let (start, end) = (measured.start(), measured.end);
        self.wall = Some(self.wall.map_or((start, end), |(s, e)| (s.min(start), e.max(end))));
    }

    pub(crate) fn wall(&self) -> Option<StageWall> {
        let (start, end) = self.wall?;
        Some(StageWall { stage_id: self.row.stage_id?, start, end })
    }

    /// Completes the row. Its moments count from the creation of the request, if it has one.
    #[inline]
    pub(crate) fn finish(&mut self, created: Option<u64>, warnings: &mut Warnings) {
        if self.is_measured
            && let Some(preprocess) = self.row.preprocess_time_ms
            && let Some(gen_time) = self.row.stage_gen_time_ms.filter(|gen_time| preprocess > *gen_time)
        {
            let more = "its children ran longer than the stage itself; counted as the stage's time";
            warnings.add(Kind::Stage, "preprocess_time_ms", preprocess, more);
            self.row.preprocess_time_ms = Some(gen_time);
        }
        let since_created =
            |moment: u64| created.map(|created| Millis::from_nanos(moment.saturating_sub(created)));
        self.row.start_ms = self.first_enter.and_then(since_created);
        self.row.first_output_ms = self.first_output.and_then(since_created);
        self.row.time_per_output_token_ms = self.time_per_output_token();
    }

    fn time_per_output_token(&self) -> Option<Millis> {
        let steps = self.row.num_tokens_out?.checked_sub(1).filter(|steps| *steps > 0)?;
        let output_time = self.last_exit?.checked_sub(self.first_output?)?;
        Some(Millis::from_nanos(output_time / steps))
    }
}
