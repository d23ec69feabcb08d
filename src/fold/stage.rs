//! A row of the stage table under construction.

use crate::{
    Fields, Millis, StageRow,
    fold::{
        closed::Closed, fields::Progress, further::merge_further, gaps::Gaps, measured::Measured,
        outputs::Outputs, row_list::Row, walls::StageWall,
    },
    model::{kind::Kind, moment::earliest, numbers::Table, warnings::Warnings},
};

/// The row of one stage in one request. Moments are kept as they are until the creation of the request, from
/// which they count, is known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stage {
    pub(crate) row: StageRow,
    first_enter: Option<u64>,
    last_exit: Option<u64>,
    first_output: Option<u64>,
    wall: Option<(u64, u64)>,
    /// The part of the stage's time that belongs to other requests of its batches, in nanoseconds.
    time_of_others: u64,
    outputs: Option<Box<Outputs>>,
    /// Whether `preprocess_time_ms` or `stage_gen_time_ms` was recorded on any span. If not, the first is a
    /// part of the second.
    is_recorded: bool,
}

impl Row for Stage {
    fn reset(&mut self) {
        let Self { row, first_enter, last_exit, first_output, wall, time_of_others, outputs, is_recorded } =
            self;
        row.reset();
        (*first_enter, *last_exit, *first_output, *wall) = (None, None, None, None);
        *time_of_others = 0;
        *outputs = None;
        *is_recorded = false;
    }
}

impl Stage {
    /// A row of a request, or, detached, of one span.
    pub(crate) fn new(id: Option<u64>) -> Self {
        let mut stage = Self::default();
        stage.begin(id);
        stage
    }

    pub(crate) fn begin(&mut self, id: Option<u64>) {
        self.row.stage_id = id;
    }

    /// Adds one span. For a part of an enclosing stage (`is_part`), its times are not added.
    pub(crate) fn add(&mut self, span: &mut Closed<'_>, is_part: bool, warnings: &mut Warnings) {
        let numbers = span.fields.stage();
        let measured = span.measured;
        let first_enter = measured.activity.map(|(first, _)| first);
        let preprocess_time = numbers.preprocess_time.or(span.preprocess);
        self.is_recorded |= numbers.preprocess_time.is_some() || !is_part && numbers.stage_gen_time.is_some();
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
            // `add_progress` adds these.
            num_tokens_cached: None,
            num_tokens_reasoning: None,
            // `finish` knows these.
            start_ms: None,
            first_output_ms: None,
            time_per_output_token_ms: None,
            outputs: None,
            last_output_ms: None,
            inter_output_mean_ms: None,
            inter_output_max_ms: None,
            media_ms: None,
            real_time_factor: None,
            underruns: None,
            underrun_total_ms: None,
            share_time_ms: None,
            // The request knows how long it waited.
            waiting_time_ms: None,
            // `detach` knows these.
            wall_time_ms: None,
            first_output_after_ms: None,
            last_output_after_ms: None,
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
        if !is_part {
            self.time_of_others = self.time_of_others.saturating_add(span.part_of_others(gen_time));
        }
        if let Some(progress) = span.progress() {
            self.add_progress(progress, warnings);
        }
        let (start, end) = (measured.start(), measured.end);
        self.wall = Some(self.wall.map_or((start, end), |(s, e)| (s.min(start), e.max(end))));
    }

    #[cold]
    fn add_progress(&mut self, progress: Box<Progress>, warnings: &mut Warnings) {
        let Progress { scheduled: _, num_tokens_cached, num_tokens_reasoning, outputs } = *progress;
        let of_span = StageRow { num_tokens_cached, num_tokens_reasoning, ..StageRow::default() };
        self.row.merge(of_span, warnings);
        match &mut self.outputs {
            Some(kept) => kept.merge(outputs, warnings),
            None => self.outputs = Some(Box::new(outputs)),
        }
    }

    pub(crate) fn wall(&self) -> Option<StageWall> {
        let (start, end) = self.wall?;
        Some(StageWall { stage_id: self.row.stage_id?, start, end })
    }

    /// Completes the row. Its moments count from the creation of the request, if it has one.
    #[inline]
    pub(crate) fn finish(&mut self, created: Option<u64>, warnings: &mut Warnings) {
        if !self.is_recorded
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
        let last_output = self.outputs.take().and_then(|outputs| self.finish_outputs(outputs));
        if let Some(last_output) = last_output {
            self.row.last_output_ms = since_created(last_output);
        }
        if let Some(first_output) = self.first_output {
            self.row.first_output_ms = since_created(first_output);
            self.row.time_per_output_token_ms = self.time_per_output_token(last_output);
        }
        if self.time_of_others > 0 {
            let others = Millis::from_nanos(self.time_of_others);
            self.row.share_time_ms = self.row.stage_gen_time_ms.map(|time| time.saturating_sub(others));
        }
    }

    /// Puts the numbers of the outputs into the row. Returns the moment of the last one.
    #[cold]
    fn finish_outputs(&mut self, outputs: Box<Outputs>) -> Option<u64> {
        let outputs = self.outputs.insert(outputs);
        outputs.finish();
        if let Some(media) = outputs.media {
            self.row.media_ms = Some(media);
            self.row.real_time_factor = self.row.factor();
        }
        if let Some(player) = outputs.player() {
            self.row.underruns = Some(player.underruns);
            self.row.underrun_total_ms = Some(Millis::from_nanos(player.underrun_total));
        }
        let (first, last) = outputs.extent()?;
        self.row.outputs = Some(outputs.count);
        if self.row.num_tokens_out.is_none() {
            self.row.num_tokens_out = outputs.units;
        }
        if let Some(gaps) = outputs.gaps() {
            self.row.inter_output_mean_ms = Some(Millis::from_nanos((last - first) / (outputs.count - 1)));
            self.row.inter_output_max_ms = Some(Millis::from_nanos(gaps.max));
        }
        self.first_output = earliest(self.first_output, Some(first));
        Some(last)
    }

    fn time_per_output_token(&self, last_output: Option<u64>) -> Option<Millis> {
        let steps = self.row.num_tokens_out?.checked_sub(1).filter(|steps| *steps > 0)?;
        let output_time = last_output.or(self.last_exit)?.checked_sub(self.first_output?)?;
        Some(Millis::from_nanos(output_time / steps))
    }

    /// The gaps between the outputs of a [finished](Self::finish) row.
    pub(crate) fn gaps(&self) -> Option<&Gaps> {
        self.outputs.as_ref()?.gaps()
    }

    /// The finished row of one span, for a line of its own.
    pub(crate) fn detach(self, measured: &Measured) -> StageRow {
        let after = |moment: u64| Millis::from_nanos(moment.saturating_sub(measured.start()));
        let last_output = self.outputs.as_ref().and_then(|outputs| outputs.extent()).map(|(_, last)| last);
        StageRow {
            wall_time_ms: Some(Millis::from_nanos(measured.span_time())),
            first_output_after_ms: self.first_output.map(after),
            last_output_after_ms: last_output.map(after),
            ..self.row
        }
    }
}
