//! The contract, spelled out over complete lists of what happened. It stores every span for ever
//! and looks through all of them for every answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

pub type SpanId = usize;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Request,
    Stage,
    Transfer,
    Preprocess,
    Foreign,
}

/// A recorded value: a usable number, usable text, or nothing that can be used.
#[derive(Debug, Clone, PartialEq)]
pub enum Val {
    Number(u64),
    Text(&'static str),
    Unusable,
}

/// A usable value of a stage's outputs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Output {
    Units(u64),
    Media(u64),
}

#[derive(Debug)]
struct Span {
    kind: Kind,
    parent: Option<SpanId>,
    created: u64,
    closed: Option<u64>,
    /// (moment, is an enter)
    visits: Vec<(u64, bool)>,
    fields: BTreeMap<&'static str, Val>,
    first_output: Option<u64>,
    scheduled: Option<u64>,
    /// What was recorded as `output` and `output_media_ms`, each at its moment.
    outputs: Vec<(u64, Output)>,
    /// Of a request: whether its callsite declares `finish_reason`, and whether it closed in a panic.
    declares_reason: bool,
    is_unwinding: bool,
    /// Of a request: the texts of its `ERROR` events.
    errors: Vec<Option<&'static str>>,
    /// Fields with a value that could not be used.
    unusable: BTreeSet<&'static str>,
    warnings: u64,
    follows: Vec<SpanId>,
    /// The open request that its id named when it was recorded, which it holds.
    named: Option<SpanId>,
    /// Of a request: its line has been written, or it was a wrapper.
    has_ended: bool,
    /// The requests it belonged to when it closed, and whether as a batch.
    settled: Option<(Vec<SpanId>, bool)>,
    references: usize,
}

/// What a closed span gave to a row of a request.
#[derive(Debug, Clone)]
struct Gift {
    request: SpanId,
    span: SpanId,
    is_part: bool,
    shared_by: usize,
    is_batch: bool,
    /// Which of the requests of the batch has it.
    place: u64,
    /// When the request had been answered, if it was before the span closed.
    answered: Option<u64>,
}

impl Gift {
    /// Of a span of several requests, the time after the answer counts for nothing but the row.
    fn counts_until(&self, end: u64) -> u64 {
        let answered = self.answered.filter(|_| self.shared_by > 1);
        answered.map_or(end, |answered| end.min(answered))
    }
}

#[derive(Debug, Default)]
pub struct Model {
    pub now: u64,
    spans: Vec<Span>,
    gifts: Vec<Gift>,
    /// Counted requests, in closing order.
    counted: Vec<SpanId>,
    /// Detached stages, for the walls.
    loose_stages: Vec<SpanId>,
    /// Whether the thread that closes spans now is unwinding.
    pub unwinding: bool,
    /// The gaps between the outputs of each stage, in nanoseconds.
    pub gaps: BTreeMap<Option<u64>, Vec<u64>>,
    /// How many requests were answered while open spans held their line.
    pub held: usize,
    pub lines: Vec<Value>,
}

fn ms(nanos: u64) -> Value {
    json!(nanos as f64 / 1e6)
}

fn maybe_ms(nanos: Option<u64>) -> Value {
    nanos.map_or(Value::Null, ms)
}

fn sum(values: impl Iterator<Item = Option<u64>>) -> Option<u64> {
    values.flatten().fold(None, |sum: Option<u64>, value| Some(sum.unwrap_or(0) + value))
}

/// To six decimals.
fn ratio(time: u64, media: u64) -> Option<f64> {
    (media > 0).then(|| (time as f64 / media as f64 * 1e6).round() / 1e6)
}

/// The parts of `created..end` that nothing covers, divided at these moments.
fn idle(
    created: u64,
    end: u64,
    intervals: &[(u64, u64)],
    moments: &[u64],
) -> impl Iterator<Item = (u64, u64)> {
    let edges = intervals.iter().flat_map(|(start, end)| [*start, *end]).chain([created, end]);
    let moments: BTreeSet<u64> = edges.chain(moments.iter().copied()).collect();
    let moments: Vec<u64> = moments.into_iter().filter(|moment| (created..=end).contains(moment)).collect();
    let is_covered = |from: u64, to: u64| intervals.iter().any(|(start, end)| *start <= from && to <= *end);
    let pairs: Vec<_> = moments.windows(2).map(|pair| (pair[0], pair[1])).collect();
    let idle: Vec<_> = pairs.into_iter().filter(|(from, to)| !is_covered(*from, *to)).collect();
    idle.into_iter()
}

impl Model {
    /// A new span. `declares_reason` is of requests.
    pub fn create(
        &mut self,
        kind: Kind,
        parent: Option<SpanId>,
        fields: &[(&'static str, Val)],
        declares_reason: bool,
    ) -> SpanId {
        let id = self.spans.len();
        self.spans.push(Span {
            kind,
            parent,
            created: self.now,
            closed: None,
            visits: Vec::new(),
            fields: BTreeMap::new(),
            first_output: None,
            scheduled: None,
            outputs: Vec::new(),
            declares_reason,
            is_unwinding: false,
            errors: Vec::new(),
            unusable: BTreeSet::new(),
            warnings: 0,
            follows: Vec::new(),
            named: None,
            has_ended: false,
            settled: None,
            references: 1,
        });
        if let Some(parent) = parent {
            self.spans[parent].references += 1;
        }
        self.record(id, fields);
        id
    }

    pub fn record(&mut self, id: SpanId, fields: &[(&'static str, Val)]) {
        let now = self.now;
        let span = &mut self.spans[id];
        for (name, value) in fields {
            if *name == "first_output" {
                span.first_output = span.first_output.or(Some(now));
            } else if *name == "scheduled" {
                span.scheduled = span.scheduled.or(Some(now));
            } else if *name == "finish_reason" && !span.declares_reason {
                // The span does not have the field.
            } else if let ("output", Val::Number(units)) = (*name, value) {
                span.outputs.push((now, Output::Units(*units)));
            } else if let ("output_media_ms", Val::Number(nanos)) = (*name, value) {
                span.outputs.push((now, Output::Media(*nanos)));
            } else if *value == Val::Unusable {
                span.warnings += 1;
                span.unusable.insert(name);
            } else {
                span.fields.insert(name, value.clone());
            }
        }
        if self.has_rows(id) && fields.iter().any(|(name, _)| *name == "request_id") {
            let own_id = self.text(id, "request_id").unwrap();
            let before = self.spans[id].named;
            self.spans[id].named = self.open_request_with_id(own_id);
            self.end_answered(before.into_iter().collect());
        }
    }

    /// An `ERROR` event inside a span.
    pub fn error(&mut self, inside: Option<SpanId>, text: Option<&'static str>) {
        let Some(inside) = inside else { return };
        let mut around = std::iter::once(inside).chain(self.ancestors(inside));
        let Some(known) = around.find(|id| self.spans[*id].kind != Kind::Foreign) else { return };
        drop(around);
        let owners = if self.spans[known].kind == Kind::Request { vec![known] } else { self.owners(known).0 };
        for owner in owners {
            if self.is_open(owner) {
                self.spans[owner].errors.push(text);
            }
        }
    }

    pub fn enter(&mut self, id: SpanId) {
        let now = self.now;
        self.spans[id].visits.push((now, true));
    }

    pub fn exit(&mut self, id: SpanId) {
        let now = self.now;
        self.spans[id].visits.push((now, false));
    }

    pub fn follow(&mut self, id: SpanId, other: SpanId) {
        self.spans[id].follows.push(other);
    }

    pub fn is_open_by_id(&self, request_id: &str) -> bool {
        self.open_request_with_id(request_id).is_some()
    }

    pub fn kind(&self, id: SpanId) -> Kind {
        self.spans[id].kind
    }

    fn has_rows(&self, id: SpanId) -> bool {
        matches!(self.spans[id].kind, Kind::Stage | Kind::Transfer)
    }

    /// A request is open until its line is written.
    fn is_open(&self, id: SpanId) -> bool {
        !self.spans[id].has_ended
    }

    fn is_answered(&self, id: SpanId) -> bool {
        self.spans[id].closed.is_some() && self.is_open(id)
    }

    /// The requests that a span holds by what it follows, or by the id it names, in that order.
    fn held_by(&self, id: SpanId) -> Vec<SpanId> {
        let mut held = Vec::new();
        for followed in &self.spans[id].follows {
            let nearest = std::iter::once(*followed).chain(self.ancestors(*followed));
            let Some(known) = nearest.into_iter().find(|id| self.spans[*id].kind != Kind::Foreign) else {
                continue;
            };
            match (&self.spans[known].settled, self.spans[known].kind) {
                (_, Kind::Request) => held.push(known),
                (Some((owners, _)), _) => held.extend(owners),
                _ => {}
            }
        }
        held.extend(self.spans[id].named);
        held
    }

    fn is_held(&self, request: SpanId) -> bool {
        (0..self.spans.len()).any(|id| {
            !matches!(self.spans[id].kind, Kind::Request | Kind::Foreign)
                && self.spans[id].closed.is_none()
                && self.held_by(id).contains(&request)
        })
    }

    /// Writes the lines of those answered requests that nothing holds any more.
    fn end_answered(&mut self, let_go: Vec<SpanId>) {
        for (at, request) in let_go.iter().enumerate() {
            // The last hold counts.
            if !let_go[at + 1..].contains(request) && self.is_answered(*request) && !self.is_held(*request) {
                self.end_request(*request);
            }
        }
    }

    pub fn hold(&mut self, id: SpanId) {
        self.spans[id].references += 1;
    }

    /// Gives one reference back; the last one closes the span, then lets go of its parent.
    pub fn release(&mut self, id: SpanId) {
        self.spans[id].references -= 1;
        if self.spans[id].references == 0 {
            self.close(id);
            if let Some(parent) = self.spans[id].parent {
                self.release(parent);
            }
        }
    }

    // Section 3: the times of one span.

    fn activity(&self, id: SpanId) -> Option<(u64, u64)> {
        let visited = self.visited(id);
        // The scheduler's moment takes the place of the first enter.
        let Some(scheduled) = self.spans[id].scheduled else { return visited };
        let left = visited.map(|(_, last)| last).filter(|last| *last >= scheduled);
        Some((scheduled, left.or(self.spans[id].closed)?))
    }

    /// First enter and last exit.
    fn visited(&self, id: SpanId) -> Option<(u64, u64)> {
        let span = &self.spans[id];
        let first = span.visits.iter().find(|visit| visit.1)?.0;
        // A span that closes while it is entered is left then.
        let depth = span.visits.iter().fold(0_i64, |depth, visit| depth + if visit.1 { 1 } else { -1 });
        let last_exit = span.visits.iter().rev().find(|visit| !visit.1).map(|visit| visit.0);
        let last = if depth > 0 { span.closed } else { last_exit };
        Some((first, last?))
    }

    fn start(&self, id: SpanId) -> u64 {
        self.activity(id).map_or(self.spans[id].created, |activity| activity.0)
    }

    fn end(&self, id: SpanId) -> u64 {
        self.activity(id).map_or(self.spans[id].closed.unwrap(), |activity| activity.1)
    }

    fn span_time(&self, id: SpanId) -> u64 {
        self.end(id) - self.start(id)
    }

    fn busy(&self, id: SpanId) -> u64 {
        let Some((_, last)) = self.visited(id) else { return 0 };
        let (mut depth, mut since, mut busy) = (0, 0, 0);
        for &(moment, is_enter) in &self.spans[id].visits {
            if is_enter && depth == 0 {
                since = moment;
            }
            depth += if is_enter { 1 } else { -1 };
            if depth == 0 {
                busy += moment - since;
            }
        }
        let busy = if depth > 0 { busy + last - since } else { busy };
        busy.min(self.span_time(id))
    }

    /// The chunks that left a stage's span: when, and how long each plays. Media belongs to the output before
    /// it, or, if that has some, to the next one, or, if there is none, to the last one.
    fn chunks(&self, id: SpanId) -> Vec<(u64, Option<u64>)> {
        let (mut chunks, mut early) = (Vec::<(u64, Option<u64>)>::new(), None);
        for (moment, output) in &self.spans[id].outputs {
            match (output, chunks.last_mut()) {
                (Output::Units(_), _) => chunks.push((*moment, early.take())),
                (Output::Media(nanos), Some((_, media @ None))) => *media = Some(*nanos),
                (Output::Media(nanos), _) => early = Some(early.unwrap_or(0) + nanos),
            }
        }
        if let (Some(early), Some((_, media))) = (early, chunks.last_mut()) {
            *media = Some(media.unwrap_or(0) + early);
        }
        chunks
    }

    fn units(&self, id: SpanId) -> Option<u64> {
        sum(self.spans[id].outputs.iter().map(|(_, output)| match output {
            Output::Units(units) => Some(*units),
            Output::Media(_) => None,
        }))
    }

    fn media(&self, id: SpanId) -> Option<u64> {
        sum(self.spans[id].outputs.iter().map(|(_, output)| match output {
            Output::Media(nanos) => Some(*nanos),
            Output::Units(_) => None,
        }))
    }

    fn number(&self, id: SpanId, field: &str) -> Option<u64> {
        match self.spans[id].fields.get(field) {
            Some(Val::Number(number)) => Some(*number),
            _ => None,
        }
    }

    fn text(&self, id: SpanId, field: &str) -> Option<&'static str> {
        match self.spans[id].fields.get(field) {
            Some(Val::Text(text)) => Some(text),
            _ => None,
        }
    }

    // Section 2: which request.

    fn ancestors(&self, id: SpanId) -> impl Iterator<Item = SpanId> {
        std::iter::successors(self.spans[id].parent, |id| self.spans[*id].parent)
    }

    fn enclosing_request(&self, id: SpanId) -> Option<SpanId> {
        self.ancestors(id).find(|id| self.spans[*id].kind == Kind::Request)
    }

    fn open_request_with_id(&self, request_id: &str) -> Option<SpanId> {
        (0..self.spans.len()).rev().find(|id| {
            self.spans[*id].kind == Kind::Request
                && self.is_open(*id)
                && self.text(*id, "request_id") == Some(request_id)
        })
    }

    /// The request that a span's id names: one that waits for it, or the newest.
    fn named_owner(&self, id: SpanId) -> Option<SpanId> {
        let own_id = self.text(id, "request_id").filter(|_| self.spans[id].kind != Kind::Preprocess)?;
        let waiting = self.spans[id].named.filter(|request| self.is_answered(*request));
        waiting.or_else(|| self.open_request_with_id(own_id))
    }

    /// The requests of a stage, transfer or preprocess span, and whether it came to them through
    /// what it follows.
    fn owners(&self, id: SpanId) -> (Vec<SpanId>, bool) {
        if let Some(request) = self.named_owner(id) {
            return (vec![request], false);
        }
        if let Some(request) = self.enclosing_request(id) {
            return (vec![request], false);
        }
        let found = self.followed_owners(id);
        let is_batch = !found.is_empty();
        (found.into_iter().collect(), is_batch)
    }

    fn followed_owners(&self, id: SpanId) -> BTreeSet<SpanId> {
        let mut found = BTreeSet::new();
        let mut asked = BTreeSet::from([id]);
        let mut pending: Vec<_> = self.spans[id].follows.clone();
        while let Some(followed) = pending.pop() {
            // A foreign span stands for what it is inside of.
            let nearest = std::iter::once(followed).chain(self.ancestors(followed));
            let Some(known) = nearest.into_iter().find(|id| self.spans[*id].kind != Kind::Foreign) else {
                continue;
            };
            if self.spans[known].kind == Kind::Request {
                found.insert(known);
            } else if let Some((owners, _)) = &self.spans[known].settled {
                found.extend(owners);
            } else if asked.insert(known) {
                match self.named_owner(known).or_else(|| self.enclosing_request(known)) {
                    Some(request) => {
                        found.insert(request);
                    }
                    None => pending.extend(&self.spans[known].follows),
                }
            }
        }
        found
    }

    fn enclosing_same_stages(&self, id: SpanId) -> Vec<SpanId> {
        let stage_id = self.number(id, "stage_id");
        let is_same = |other: &SpanId| {
            self.spans[*other].kind == Kind::Stage
                && stage_id.is_some()
                && self.number(*other, "stage_id") == stage_id
        };
        self.ancestors(id).filter(is_same).collect()
    }

    fn preprocess(&self, stage: SpanId) -> Option<u64> {
        let children = (0..self.spans.len()).filter(|id| {
            self.spans[*id].kind == Kind::Preprocess
                && self.ancestors(*id).find(|id| self.spans[*id].kind != Kind::Foreign) == Some(stage)
        });
        sum(children.map(|id| Some(self.span_time(id))))
    }

    // Closing.

    fn close(&mut self, id: SpanId) {
        self.spans[id].closed = Some(self.now);
        self.spans[id].is_unwinding = self.unwinding;
        match self.spans[id].kind {
            Kind::Request if self.is_held(id) => self.held += 1,
            Kind::Request => self.end_request(id),
            Kind::Stage | Kind::Transfer => {
                self.close_row(id);
                self.end_answered(self.held_by(id));
            }
            Kind::Preprocess => {
                self.spans[id].settled = Some(self.owners(id));
                self.end_answered(self.held_by(id));
            }
            Kind::Foreign => {}
        }
    }

    fn close_row(&mut self, id: SpanId) {
        let (owners, is_batch) = self.owners(id);
        self.spans[id].settled = Some((owners.clone(), is_batch));
        let own_id = self.text(id, "request_id");
        let is_named = self.named_owner(id).is_some();
        if !owners.is_empty() && !is_batch {
            let id_is_not_open = own_id.is_some() && !is_named;
            let passed_over = self.followed_owners(id).iter().any(|other| *other != owners[0]);
            self.spans[id].warnings += u64::from(id_is_not_open) + u64::from(passed_over);
        }
        // What was recorded and could not be used has warned already.
        let is_missing =
            |field: &str| self.number(id, field).is_none() && !self.spans[id].unusable.contains(field);
        let missing = match self.spans[id].kind {
            Kind::Stage => is_missing("stage_id"),
            _ => is_missing("from_stage") || is_missing("to_stage"),
        };
        self.spans[id].warnings += u64::from(missing);
        if self.spans[id].kind == Kind::Stage && owners.len() > 1 {
            let totals = ["num_tokens_in", "num_tokens_out", "num_tokens_cached", "num_tokens_reasoning"];
            let totals = totals.iter().filter(|field| self.number(id, field).is_some()).count();
            self.spans[id].warnings += totals as u64 + u64::from(self.units(id).is_some());
        }
        let outer = self.enclosing_same_stages(id);
        let own_id = self.text(id, "request_id");
        let mut loose = Vec::new();
        for (place, &request) in (0..).zip(&owners) {
            if self.is_open(request) {
                let is_part = outer.iter().any(|outer| self.owners(*outer).0.contains(&request));
                let answered = self.spans[request].closed;
                self.gifts.push(Gift {
                    request,
                    span: id,
                    is_part,
                    shared_by: owners.len(),
                    is_batch,
                    place,
                    answered,
                });
            } else {
                let closed_id = self.text(request, "request_id").unwrap_or("generated");
                loose.push((place, Some(if is_batch { closed_id } else { own_id.unwrap_or(closed_id) })));
            }
        }
        if owners.is_empty() {
            loose.push((0, own_id));
        }
        for (place, request_id) in loose {
            let is_part = outer.iter().any(|outer| {
                let (owners, _) = self.owners(*outer);
                let is_its_own = owners.is_empty() && request_id == self.text(*outer, "request_id");
                let is_of_closed = owners.iter().any(|owner| {
                    !self.is_open(*owner)
                        && request_id == Some(self.text(*owner, "request_id").unwrap_or("generated"))
                });
                request_id.is_none() || is_its_own || is_of_closed
            });
            let shared_by = owners.len();
            let gift = Gift { request: id, span: id, is_part, shared_by, is_batch, place, answered: None };
            self.emit_detached(id, &gift, request_id);
        }
    }

    fn emit_detached(&mut self, id: SpanId, gift: &Gift, request_id: Option<&str>) {
        let mut line = Map::new();
        let is_stage = self.spans[id].kind == Kind::Stage;
        line.insert("type".into(), json!(if is_stage { "stage" } else { "transfer" }));
        line.insert("schema".into(), json!(1));
        line.insert("end".into(), json!(self.end(id)));
        line.insert("request_id".into(), json!(request_id));
        let (row, skews) = if is_stage {
            self.loose_stages.push(id);
            self.count_gaps(&[gift]);
            self.stage_row(&[gift], None)
        } else {
            self.edge_row(&[gift], None)
        };
        line.extend(row.as_object().unwrap().clone());
        line.insert("wall_time_ms".into(), ms(self.span_time(id)));
        let chunks = self.chunks(id);
        let first_chunk = chunks.first().map(|chunk| chunk.0);
        let first = self.spans[id].first_output.into_iter().chain(first_chunk).min();
        let moments =
            [("first_output_after_ms", first), ("last_output_after_ms", chunks.last().map(|chunk| chunk.0))];
        for (name, moment) in moments {
            if let Some(moment) = moment.filter(|_| is_stage) {
                line.insert(name.into(), ms(moment.saturating_sub(self.start(id))));
            }
        }
        line.insert("warnings".into(), json!((self.spans[id].warnings + skews).min(16)));
        self.lines.push(Value::Object(line));
    }

    fn end_request(&mut self, id: SpanId) {
        self.spans[id].has_ended = true;
        let gifts: Vec<&Gift> = self.gifts.iter().filter(|gift| gift.request == id).collect();
        if gifts.is_empty() && self.encloses_request(id) {
            return;
        }
        let created = self.spans[id].created;
        let end = self.request_end(id, &gifts);

        let mut stages = BTreeMap::<_, Vec<&Gift>>::new();
        let mut edges = BTreeMap::<_, Vec<&Gift>>::new();
        for gift in &gifts {
            if self.spans[gift.span].kind == Kind::Stage {
                let stage_id = self.number(gift.span, "stage_id");
                stages.entry((stage_id.is_none(), stage_id)).or_default().push(gift);
            } else {
                let (from, to) = (self.number(gift.span, "from_stage"), self.number(gift.span, "to_stage"));
                edges.entry((from.is_none(), from, to.is_none(), to)).or_default().push(gift);
            }
        }
        let mut warnings =
            self.spans[id].warnings + gifts.iter().map(|gift| self.spans[gift.span].warnings).sum::<u64>();
        let waits = self.waits(created, end, &gifts, edges.values());
        let mut stage_table = Vec::new();
        for ((_, stage_id), gifts) in &stages {
            let (mut row, clipped) = self.stage_row(gifts, Some(created));
            if let Some(waited) = waits.get(stage_id) {
                row["waiting_time_ms"] = ms(*waited);
            }
            stage_table.push(row);
            warnings += clipped;
        }
        let mut transfer_table = Vec::new();
        for gifts in edges.values() {
            let (row, skews) = self.edge_row(gifts, Some(created));
            transfer_table.push(row);
            warnings += skews;
        }
        let count = |row: &Value, field: &str| row[field].as_u64().unwrap_or(0);
        let tokens_in: u64 = stage_table
            .iter()
            .filter(|row| row["stage_id"] == 0)
            .map(|row| count(row, "num_tokens_in"))
            .sum();
        let tokens = tokens_in + stage_table.iter().map(|row| count(row, "num_tokens_out")).sum::<u64>();
        let transfer_nanos: u64 = transfer_table
            .iter()
            .map(|row| (row["total_time_ms"].as_f64().unwrap() * 1e6).round() as u64)
            .sum();
        let entered = gifts.iter().filter(|gift| self.spans[gift.span].kind == Kind::Stage);
        let first_enter =
            entered.filter_map(|gift| self.activity(gift.span)).map(|activity| activity.0).min();
        let mut e2e = json!({
            "e2e_total_ms": ms(end - created),
            "e2e_total_tokens": tokens,
            "transfers_total_time_ms": ms(transfer_nanos),
            "transfers_total_bytes": transfer_table.iter().map(|row| count(row, "size_bytes")).sum::<u64>(),
            "queue_time_ms": maybe_ms(first_enter.map(|first| first - created.min(first))),
            "unattributed_time_ms": ms(self.unattributed(created, end, &gifts, edges.values())),
        });
        let media =
            stages.values().filter_map(|gifts| sum(gifts.iter().map(|gift| self.media(gift.span)))).max();
        if let Some(factor) = media.and_then(|media| ratio(end - created, media)) {
            e2e["real_time_factor"] = json!(factor);
        }
        if let Some(waited) = sum(waits.values().map(|waited| Some(*waited))) {
            e2e["waiting_time_ms"] = ms(waited);
        }
        let errors = &self.spans[id].errors;
        if let Some(first) = errors.first() {
            e2e["errors"] = json!(errors.len());
            if let Some(text) = first {
                e2e["error"] = json!(text);
            }
        }
        let absent = if self.spans[id].is_unwinding || !errors.is_empty() { "error" } else { "abort" };
        let absent = self.spans[id].declares_reason.then_some(absent);
        if let Some(reason) = self.text(id, "finish_reason").or(absent) {
            e2e["finish_reason"] = json!(reason);
        }
        let of_stages: Vec<Vec<Gift>> =
            stages.values().map(|gifts| gifts.iter().copied().cloned().collect()).collect();
        self.counted.push(id);
        for gifts in of_stages {
            self.count_gaps(&gifts.iter().collect::<Vec<_>>());
        }
        let summary = self.summary(tokens);
        self.lines.push(json!({
            "type": "request", "schema": 1, "end": end,
            "request_id": self.text(id, "request_id").unwrap_or("generated"),
            "overall_summary": summary, "e2e_table": e2e,
            "stage_table": stage_table, "transfer_table": transfer_table, "warnings": warnings.min(16),
        }));
    }

    fn request_end(&self, id: SpanId, gifts: &[&Gift]) -> u64 {
        let own = self.activity(id).map(|activity| activity.1);
        let began_after_the_answer = |gift: &Gift| {
            gift.shared_by > 1 && gift.answered.is_some_and(|answered| self.start(gift.span) >= answered)
        };
        let rows = gifts
            .iter()
            .filter(|gift| !began_after_the_answer(gift))
            .filter_map(|gift| Some(gift.counts_until(self.activity(gift.span)?.1)));
        let last = rows.chain(own).max();
        last.unwrap_or(self.spans[id].closed.unwrap()).max(self.spans[id].created)
    }

    /// The chunks of a row, in their order.
    fn row_chunks(&self, gifts: &[&Gift]) -> Vec<(u64, Option<u64>)> {
        let mut chunks: Vec<_> = gifts.iter().flat_map(|gift| self.chunks(gift.span)).collect();
        chunks.sort_by_key(|chunk| chunk.0);
        chunks
    }

    fn count_gaps(&mut self, gifts: &[&Gift]) {
        let chunks = self.row_chunks(gifts);
        let gaps = chunks.windows(2).map(|pair| pair[1].0 - pair[0].0);
        self.gaps.entry(self.number(gifts[0].span, "stage_id")).or_default().extend(gaps);
    }

    /// What the outputs of a row come to. Its `num_tokens_out` is given.
    fn add_outputs(
        &self,
        row: &mut Value,
        gifts: &[&Gift],
        created: Option<u64>,
        generation: Option<u64>,
        tokens: Option<u64>,
    ) {
        let chunks = self.row_chunks(gifts);
        let since = |moment: u64| created.map(|created| moment.saturating_sub(created));
        let all = || gifts.iter().map(|gift| gift.span);
        let (first_chunk, last_chunk) =
            (chunks.first().map(|chunk| chunk.0), chunks.last().map(|chunk| chunk.0));
        let first_output = all().filter_map(|id| self.spans[id].first_output).chain(first_chunk).min();
        if let Some(moment) = first_output.and_then(since) {
            row["first_output_ms"] = ms(moment);
        }
        let last_exit = all().filter_map(|id| self.activity(id)).map(|activity| activity.1).max();
        if let (Some(last), Some(first), Some(tokens @ 2..)) =
            (last_chunk.or(last_exit), first_output, tokens)
            && last >= first
        {
            row["time_per_output_token_ms"] = ms((last - first) / (tokens - 1));
        }
        if let (Some(first), Some(last)) = (first_chunk, last_chunk) {
            row["outputs"] = json!(chunks.len());
            if let Some(moment) = since(last) {
                row["last_output_ms"] = ms(moment);
            }
            if let Some(longest) = chunks.windows(2).map(|pair| pair[1].0 - pair[0].0).max() {
                row["inter_output_mean_ms"] = ms((last - first) / (chunks.len() as u64 - 1));
                row["inter_output_max_ms"] = ms(longest);
            }
        }
        if let Some(media) = sum(all().map(|id| self.media(id))) {
            row["media_ms"] = ms(media);
            if let Some(factor) = generation.and_then(|time| ratio(time, media)) {
                row["real_time_factor"] = json!(factor);
            }
        }
        let played: Vec<_> = chunks.iter().filter_map(|(moment, media)| Some((*moment, (*media)?))).collect();
        if let Some((first, _)) = played.first() {
            let (mut until, mut underruns, mut total) = (*first, 0, 0);
            for (moment, media) in played {
                if until < moment {
                    underruns += 1;
                    total += moment - until;
                }
                until = until.max(moment) + media;
            }
            row["underruns"] = json!(underruns);
            row["underrun_total_ms"] = ms(total);
        }
    }

    /// The row, and whether its preprocessing was longer than itself.
    fn stage_row(&self, gifts: &[&Gift], created: Option<u64>) -> (Value, u64) {
        let timed: Vec<SpanId> = gifts.iter().filter(|gift| !gift.is_part).map(|gift| gift.span).collect();
        let all: Vec<SpanId> = gifts.iter().map(|gift| gift.span).collect();
        let tokens = |field: &str| {
            sum(gifts
                .iter()
                .map(|gift| if gift.shared_by > 1 { None } else { self.number(gift.span, field) }))
        };
        let last = |field: &str| all.iter().rev().find_map(|id| self.number(*id, field));
        let batch_size = gifts.iter().rev().find_map(|gift| {
            self.number(gift.span, "batch_size").or(gift.is_batch.then_some(gift.shared_by as u64))
        });
        let generation = sum(timed
            .iter()
            .map(|id| Some(self.number(*id, "stage_gen_time_ms").unwrap_or(self.span_time(*id)))));
        let mut preprocess =
            sum(all.iter().map(|id| self.number(*id, "preprocess_time_ms").or(self.preprocess(*id))));
        let is_measured = all.iter().all(|id| self.number(*id, "preprocess_time_ms").is_none())
            && timed.iter().all(|id| self.number(*id, "stage_gen_time_ms").is_none());
        let is_clipped = is_measured && generation.is_some() && preprocess > generation;
        if is_clipped {
            preprocess = generation;
        }
        let first_enter = all.iter().filter_map(|id| self.activity(*id)).map(|activity| activity.0).min();
        let units =
            sum(gifts.iter().map(|gift| if gift.shared_by > 1 { None } else { self.units(gift.span) }));
        let tokens_out = tokens("num_tokens_out").or(units);
        let since = |moment: u64| created.map(|created| moment.saturating_sub(created));
        let mut row = json!({
            "stage_id": self.number(all[0], "stage_id"),
            "batch_id": last("batch_id"),
            "batch_size": batch_size,
            "num_tokens_in": tokens("num_tokens_in"),
            "num_tokens_out": tokens_out,
            "preprocess_time_ms": maybe_ms(preprocess),
            "stage_gen_time_ms": maybe_ms(generation),
            "busy_time_ms": maybe_ms(sum(timed.iter().map(|id| Some(self.busy(*id))))),
            "queue_time_ms": maybe_ms(sum(timed.iter().map(|id| Some(self.activity(*id)?.0 - self.spans[*id].created)))),
            "start_ms": maybe_ms(first_enter.and_then(since)),
            "events": all.len(),
        });
        if let Some(name) = all.iter().rev().find_map(|id| self.text(*id, "stage_name")) {
            row["stage_name"] = json!(name);
        }
        for field in ["num_tokens_cached", "num_tokens_reasoning"] {
            if let Some(tokens) = tokens(field) {
                row[field] = json!(tokens);
            }
        }
        let time = |id| self.number(id, "stage_gen_time_ms").unwrap_or(self.span_time(id));
        let shares = gifts.iter().filter(|gift| !gift.is_part).map(|gift| {
            let (time, requests) = (time(gift.span), gift.shared_by as u64);
            // What does not divide goes to the first ones.
            let is_divided = gift.is_batch && requests > 1;
            Some(if is_divided { time / requests + u64::from(gift.place < time % requests) } else { time })
        });
        if let Some(share) = sum(shares)
            && Some(share) != generation
        {
            row["share_time_ms"] = ms(share);
        }
        self.add_outputs(&mut row, gifts, created, generation, tokens_out);
        (row, u64::from(is_clipped))
    }

    /// The hops of an edge, as (from, to) moments, and whether their time is measured.
    fn hops(&self, gifts: &[&Gift]) -> Vec<(u64, u64, bool)> {
        let mut sent: Vec<SpanId> = Vec::new();
        let mut received: Vec<SpanId> = Vec::new();
        for gift in gifts {
            if self.text(gift.span, "phase") == Some("rx") { &mut received } else { &mut sent }
                .push(gift.span);
        }
        sent.sort_by_key(|id| self.start(*id));
        received.sort_by_key(|id| self.start(*id));
        let is_measured = |id: SpanId| self.number(id, "in_flight_time_ms").is_none();
        let pairs = sent.iter().zip(&received);
        pairs.map(|(s, r)| (self.end(*s), self.start(*r), is_measured(*s) && is_measured(*r))).collect()
    }

    /// The row, and how many of its hops went backwards.
    fn edge_row(&self, gifts: &[&Gift], created: Option<u64>) -> (Value, u64) {
        let all: Vec<SpanId> = gifts.iter().map(|gift| gift.span).collect();
        let phase_time = |field: &str, is_rx: bool| {
            sum(all.iter().map(|id| {
                let is_measured = (self.text(*id, "phase") == Some("rx")) == is_rx;
                self.number(*id, field).or(is_measured.then(|| self.span_time(*id)))
            }))
        };
        let (tx, rx) = (phase_time("tx_time_ms", false), phase_time("rx_decode_time_ms", true));
        let hops: Vec<_> = self.hops(gifts).into_iter().filter(|hop| hop.2).collect();
        let recorded = all.iter().map(|id| self.number(*id, "in_flight_time_ms"));
        let in_flight = sum(recorded.chain(hops.iter().map(|(from, to, _)| Some(to.saturating_sub(*from)))));
        let first_enter = all.iter().filter_map(|id| self.activity(*id)).map(|activity| activity.0).min();
        let row = json!({
            "from_stage": self.number(all[0], "from_stage"),
            "to_stage": self.number(all[0], "to_stage"),
            "size_bytes": sum(all.iter().map(|id| self.number(*id, "size_bytes"))),
            "tx_time_ms": maybe_ms(tx),
            "rx_decode_time_ms": maybe_ms(rx),
            "in_flight_time_ms": maybe_ms(in_flight),
            "total_time_ms": ms(tx.unwrap_or(0) + rx.unwrap_or(0) + in_flight.unwrap_or(0)),
            "start_ms": maybe_ms(first_enter.and_then(|first| created.map(|created| first.saturating_sub(created)))),
            "events": all.len(),
        });
        (row, hops.iter().filter(|(from, to, _)| to < from).count() as u64)
    }

    /// The stages, transfers and flights of a request.
    fn intervals<'a>(
        &self,
        gifts: &[&Gift],
        edges: impl Iterator<Item = &'a Vec<&'a Gift>>,
    ) -> Vec<(u64, u64)> {
        let mut intervals: Vec<_> = gifts
            .iter()
            .map(|gift| (self.start(gift.span), gift.counts_until(self.end(gift.span))))
            .collect();
        intervals.extend(edges.flat_map(|gifts| self.hops(gifts)).map(|(from, to, _)| (from, to)));
        intervals
    }

    /// Counts the time between any two moments of interest that nothing covers.
    fn unattributed<'a>(
        &self,
        created: u64,
        end: u64,
        gifts: &[&Gift],
        edges: impl Iterator<Item = &'a Vec<&'a Gift>>,
    ) -> u64 {
        idle(created, end, &self.intervals(gifts, edges), &[]).map(|(from, to)| to - from).sum()
    }

    /// What each stage waited while nothing of the request ran.
    fn waits<'a>(
        &self,
        created: u64,
        end: u64,
        gifts: &[&Gift],
        edges: impl Iterator<Item = &'a Vec<&'a Gift>>,
    ) -> BTreeMap<Option<u64>, u64> {
        let mut waits = Vec::new();
        for gift in gifts.iter().filter(|gift| self.spans[gift.span].kind == Kind::Stage && !gift.is_part) {
            let (from, stage_id) = (self.spans[gift.span].created, self.number(gift.span, "stage_id"));
            if let Some((start, _)) = self.activity(gift.span).filter(|(start, _)| *start > from) {
                waits.push((start, from, stage_id));
            }
        }
        waits.sort_by_key(|(start, from, stage_id)| (*start, *from, stage_id.is_none(), *stage_id));
        let mut waited: BTreeMap<_, u64> = waits.iter().map(|(_, _, stage_id)| (*stage_id, 0)).collect();
        let moments: Vec<u64> = waits.iter().flat_map(|(start, from, _)| [*start, *from]).collect();
        for (from, to) in idle(created, end, &self.intervals(gifts, edges), &moments) {
            let first = waits.iter().find(|(start, begin, _)| *begin <= from && to <= *start);
            if let Some((_, _, stage_id)) = first {
                *waited.get_mut(stage_id).unwrap() += to - from;
            }
        }
        waited
    }

    /// A request that has closed and was no wrapper, or is open and does not look like one.
    fn is_counted_or_will_be(&self, id: SpanId) -> bool {
        let is_wrapper = || self.encloses_request(id) && !self.gifts.iter().any(|gift| gift.request == id);
        self.spans[id].kind == Kind::Request
            && (self.counted.contains(&id) || self.is_open(id) && !is_wrapper())
    }

    fn encloses_request(&self, id: SpanId) -> bool {
        (0..self.spans.len())
            .any(|other| self.spans[other].kind == Kind::Request && self.enclosing_request(other) == Some(id))
    }

    fn summary(&self, tokens: u64) -> Value {
        let requests = self.counted.len() as u64;
        let before = self.lines.iter().rev().find(|line| line["type"] == "request");
        let tokens =
            tokens + before.map_or(0, |line| line["overall_summary"]["e2e_total_tokens"].as_u64().unwrap());
        let ends = self.counted.iter().map(|id| {
            let gifts: Vec<_> = self.gifts.iter().filter(|gift| gift.request == *id).collect();
            self.request_end(*id, &gifts)
        });
        let first = (0..self.spans.len())
            .filter(|id| self.is_counted_or_will_be(*id))
            .map(|id| self.spans[id].created)
            .min();
        let first = first.unwrap();
        let wall = ends.max().unwrap() - first;
        let of_counted =
            self.gifts.iter().filter(|gift| self.counted.contains(&gift.request)).map(|gift| gift.span);
        let stages = of_counted
            .chain(self.loose_stages.iter().copied())
            .filter(|id| self.spans[*id].kind == Kind::Stage);
        let mut walls: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for id in stages {
            if let Some(stage_id) = self.number(id, "stage_id") {
                let (start, end) = (self.start(id), self.end(id));
                let wall = walls.entry(stage_id).or_insert((start, end));
                *wall = (wall.0.min(start), wall.1.max(end));
            }
        }
        let length = walls.keys().last().map_or(0, |last| last + 1);
        json!({
            "e2e_requests": requests,
            "e2e_wall_time_ms": ms(wall),
            "e2e_total_tokens": tokens,
            "e2e_avg_time_per_request_ms": ms((wall + requests / 2) / requests),
            "stage_wall_time_ms": (0..length).map(|id| walls.get(&id).map_or(json!(0.0), |(start, end)| ms(end - start))).collect::<Vec<_>>(),
        })
    }
}
