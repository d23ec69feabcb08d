//! The rows of a request, and the fold of them into its end-to-end table.

use std::mem;

use crate::{
    E2eTable, Millis, OverallSummary, StageRow, TransferRow,
    fold::{
        closed::Closed,
        edge::Edge,
        fields::SpanFields,
        gaps::Gaps,
        hops::Flights,
        intervals::Intervals,
        measured::Measured,
        row_list::RowList,
        stage::Stage,
        waits::{Wait, Waits},
        walls::{StageWall, WALL_LIMIT, warn_of_wall},
    },
    model::{
        id::{Shown, ordered},
        kind::Kind,
        moment::earliest,
        numbers::{factor_of_request, total_tokens, total_transfers},
        warnings::Warnings,
    },
};

/// How many stage rows, and how many transfer rows, a request has; past that, further ids share
/// the row without an id.
pub(crate) const ROW_LIMIT: usize = 1024;

/// For how many stages the summary of a request that is used again has room.
const WALLS_KEPT: usize = 16;

/// The rows of a request, and what its numbers need besides. Its size depends on the distinct
/// stages and edges, not on how many spans went into them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    /// Sorted by stage id.
    stages: RowList<Stage>,
    /// Sorted by ends.
    edges: RowList<Edge>,
    activity: Intervals,
    first_stage_enter: Option<u64>,
    last_exit: Option<u64>,
    /// The moment at which the request was answered, if open spans held it then.
    pub(crate) answered: Option<u64>,
    waits: Waits,
    /// How many `ERROR` events there were, and the text of the first one.
    errors: u64,
    error: Option<String>,
    pub(crate) warnings: Warnings,
    /// The run up to the request, put in as it closes.
    pub(crate) summary: OverallSummary,
}

impl Rows {
    pub(crate) fn is_empty(&self) -> bool {
        self.stages.len() + self.edges.len() == 0
    }

    /// Leaves nothing but some room for the next request's rows.
    pub(crate) fn wipe(&mut self) {
        let Self {
            stages,
            edges,
            activity,
            first_stage_enter,
            last_exit,
            answered,
            waits,
            errors,
            error,
            warnings,
            summary,
        } = self;
        stages.clear();
        edges.clear();
        summary.stage_wall_time_ms.clear();
        summary.stage_wall_time_ms.shrink_to(WALLS_KEPT);
        activity.clear();
        *first_stage_enter = None;
        *last_exit = None;
        *answered = None;
        waits.clear();
        *errors = 0;
        *error = None;
        warnings.clear();
    }

    pub(crate) fn stage_table(&self) -> impl Iterator<Item = &StageRow> + Clone {
        self.stages.iter().map(|stage| &stage.row)
    }

    /// The stage rows, each with the gaps between its outputs.
    pub(crate) fn stages_with_gaps(&self) -> impl Iterator<Item = (&StageRow, Option<&Gaps>)> {
        self.stages.iter().map(|stage| (&stage.row, stage.gaps()))
    }

    pub(crate) fn transfer_table(&self) -> impl Iterator<Item = &TransferRow> + Clone {
        self.edges.iter().map(|edge| &edge.row)
    }

    pub(crate) fn stage_walls(&self) -> impl Iterator<Item = StageWall> {
        self.stages.iter().filter_map(Stage::wall)
    }

    /// Adds a `stage` span. `is_part` says that another one of the same stage, around it, brings
    /// the times.
    pub(crate) fn add_stage(&mut self, span: &mut Closed<'_>, is_part: bool) {
        self.take_common(span);
        let first_enter = span.measured.activity.map(|(first, _)| first);
        self.first_stage_enter = earliest(self.first_stage_enter, first_enter);
        let mut id = span.fields.stage().stage_id;
        // Stage 0 always has its row, for its input counts in the request's tokens.
        if self.stages.len() >= ROW_LIMIT && id != Some(0) && self.find_stage(id).is_err() {
            let more = format!("a request has {ROW_LIMIT} stage rows; added to the one without an id");
            self.warnings.add(Kind::Stage, "stage_id", Shown(id), more);
            id = None;
        }
        let at = self.find_stage(id).unwrap_or_else(|at| {
            self.stages.insert(at, |stage| stage.begin(id));
            match id {
                Some(id) if id >= WALL_LIMIT => warn_of_wall(&mut self.warnings, id),
                _ => {}
            }
            at
        });
        if let Some(start) = first_enter.filter(|_| !is_part) {
            self.waits.add(Wait { start, created: span.measured.created, stage_id: id });
        }
        if let Some(stage) = self.stages.get_mut(at) {
            stage.add(span, is_part, &mut self.warnings);
        }
    }

    /// Adds a `transfer` span. `sent_at` is the moment at which another process sent it.
    pub(crate) fn add_transfer(&mut self, span: &mut Closed<'_>, sent_at: Option<i64>) {
        self.take_common(span);
        let numbers = span.fields.transfer();
        let mut ends = (numbers.from_stage, numbers.to_stage);
        if self.edges.len() >= ROW_LIMIT && self.find_edge(ends).is_err() {
            let more = format!("a request has {ROW_LIMIT} transfer rows; added to the one without ends");
            let shown = format_args!("{} -> {}", Shown(ends.0), Shown(ends.1)).to_string();
            self.warnings.add(Kind::Transfer, "from_stage -> to_stage", shown, more);
            ends = (None, None);
        }
        let at = self.find_edge(ends).unwrap_or_else(|at| {
            self.edges.insert(at, |edge| edge.begin(ends));
            at
        });
        let mut flights = Flights::new();
        if let Some(edge) = self.edges.get_mut(at) {
            edge.add(span, sent_at, &mut flights, &mut self.warnings);
            edge.add_flights(&flights, &mut self.activity, &mut self.warnings);
        }
    }

    /// Adds an `ERROR` event with its text.
    pub(crate) fn add_error(&mut self, text: Option<String>) {
        if self.errors == 0 {
            self.error = text;
        }
        self.errors = self.errors.saturating_add(1);
    }

    pub(crate) fn warn(&mut self, sentence: String) {
        self.warnings.push(sentence);
    }

    fn take_common(&mut self, span: &Closed<'_>) {
        let (mut end, mut last_exit) = (span.measured.end, span.measured.activity.map(|(_, last)| last));
        // What a batch does after this request's answer is not this request's time.
        if span.is_shared
            && let Some(answered) = self.answered
        {
            end = end.min(answered);
            let begins_before = span.measured.start() < answered;
            last_exit = last_exit.filter(|_| begins_before).map(|last| last.min(answered));
        }
        self.activity.add(span.measured.start(), end);
        self.last_exit = self.last_exit.max(last_exit);
        self.warnings.extend(&span.fields.warnings);
    }

    fn find_stage(&self, id: Option<u64>) -> Result<usize, usize> {
        self.stages.find(ordered(id), |stage| stage.row.order())
    }

    fn find_edge(&self, (from, to): (Option<u64>, Option<u64>)) -> Result<usize, usize> {
        self.edges.find((ordered(from), ordered(to)), |edge| edge.row.order())
    }

    /// The numbers of a request before the spans that belong to it have closed; `fields` are those of the
    /// `request` span.
    pub(crate) fn as_they_stand(
        mut self: Box<Self>,
        measured: Measured,
        fields: &mut SpanFields,
    ) -> (Folded, Box<Self>) {
        let mut closed =
            Closed { measured, fields, preprocess: None, batch: None, place: 0, is_shared: false };
        (self.fold(&mut closed), self)
    }

    /// Completes the rows and folds them, and the `request` span itself, into the end-to-end table.
    pub(crate) fn fold(&mut self, request: &mut Closed<'_>) -> Folded {
        let Measured { created, end, activity, .. } = request.measured;
        let mut warnings = mem::take(&mut request.fields.warnings);
        let mut flights = Flights::new();
        for edge in self.edges.iter_mut() {
            edge.match_rest(&mut flights, &mut self.warnings);
            edge.add_flights(&flights, &mut self.activity, &mut self.warnings);
            flights.clear();
        }
        warnings.extend(&self.warnings);

        // A batch may have run, and be followed late, before the request was even created.
        let last_exit = activity.map(|(_, last)| last).max(self.last_exit);
        let end = last_exit.unwrap_or(end).max(created);
        self.stages.iter_mut().for_each(|stage| stage.finish(Some(created), &mut warnings));
        self.edges.iter_mut().for_each(|edge| edge.finish(Some(created), &mut warnings));
        let covered = self.activity.covered(created, end);
        let waiting = self.divide_waits(created, end);
        let tokens = total_tokens(self.stage_table(), &mut warnings);
        let (bytes, transfer_time) = total_transfers(self.transfer_table(), &mut warnings);
        let since_created = |moment: u64| Millis::from_nanos(moment.saturating_sub(created));
        let e2e = E2eTable {
            e2e_total_ms: since_created(end),
            e2e_total_tokens: tokens,
            transfers_total_time_ms: transfer_time,
            transfers_total_bytes: bytes,
            queue_time_ms: self.first_stage_enter.map(since_created),
            unattributed_time_ms: since_created(end).saturating_sub(Millis::from_nanos(covered)),
            real_time_factor: factor_of_request(since_created(end), self.stage_table()),
            waiting_time_ms: waiting.map(Millis::from_nanos),
            errors: (self.errors > 0).then_some(self.errors),
            error: self.error.take(),
            finish_reason: request.fields.label.take().or_else(|| self.absent_reason(request.fields)),
        };
        Folded { end, e2e, warnings }
    }

    /// Divides the time for which the request only waited among its stages. Returns their sum.
    #[inline]
    fn divide_waits(&mut self, created: u64, end: u64) -> Option<u64> {
        let Self { waits, activity, stages, .. } = self;
        let (mut total, mut next) = (None, 0);
        waits.divide(activity, created, end, |stage_id, idle| {
            // Most stages have one span, and start in the order of their ids.
            let is_next = stages.get_mut(next).is_some_and(|stage| stage.row.stage_id == stage_id);
            let found =
                if is_next { Ok(next) } else { stages.find(ordered(stage_id), |stage| stage.row.order()) };
            next += 1;
            if let Some(stage) = found.ok().and_then(|at| stages.get_mut(at)) {
                let waited = stage.row.waiting_time_ms.unwrap_or_default();
                stage.row.waiting_time_ms = waited.checked_add(Millis::from_nanos(idle));
            }
            total = Some(total.unwrap_or(0) + idle);
        });
        total
    }

    /// The reason of a request that declares one and has recorded none.
    fn absent_reason(&self, fields: &SpanFields) -> Option<String> {
        let reason = if self.errors > 0 || fields.is_unwinding { "error" } else { "abort" };
        fields.declares_reason.then(|| reason.to_owned())
    }
}

/// What a closed request is besides its rows.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) end: u64,
    pub(crate) e2e: E2eTable,
    pub(crate) warnings: Warnings,
}
