//! A random program of span operations, and its run against both sides.

use std::{
    collections::BTreeMap,
    future::{Future, pending},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc,
    task::{Context, Waker},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tracing::{Dispatch, Instrument, Span, field::Empty, info_span};

use crate::{
    naive::{Kind, Model, SpanId, Val},
    support::Rig,
};

/// Threads that live as long as all programs, each doing one operation at a time.
pub struct Workers(Vec<mpsc::Sender<Box<dyn FnOnce() + Send>>>);

impl Workers {
    pub fn new() -> Self {
        let start = |_| {
            let (sender, jobs) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
            thread::spawn(move || jobs.into_iter().for_each(|job| job()));
            sender
        };
        Self((0..2).map(start).collect())
    }

    /// Runs the operation on worker `at`, under `dispatch`, and waits for it.
    fn run<T: Send + 'static>(
        &self,
        at: usize,
        dispatch: &Dispatch,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let (sender, result) = mpsc::channel();
        let dispatch = dispatch.clone();
        let job = move || {
            let outcome = tracing::dispatcher::with_default(&dispatch, job);
            drop(dispatch);
            let _ = sender.send(outcome);
        };
        self.0[at].send(Box::new(job)).unwrap();
        result.recv().unwrap()
    }
}

/// SplitMix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> Option<T> {
        (!choices.is_empty()).then(|| choices[self.below(choices.len())])
    }
}

type Fields = Vec<(&'static str, Val)>;

fn random_fields(kind: Kind, random: &mut Random) -> Fields {
    let mut fields = Fields::new();
    let counts: &[&'static str] = match kind {
        Kind::Stage => &[
            "stage_id",
            "batch_id",
            "batch_size",
            "num_tokens_in",
            "num_tokens_out",
            "num_tokens_cached",
            "num_tokens_reasoning",
        ],
        Kind::Transfer => &["from_stage", "to_stage", "size_bytes"],
        _ => &[],
    };
    let times: &[&'static str] = match kind {
        Kind::Stage => &["preprocess_time_ms", "stage_gen_time_ms"],
        Kind::Transfer => &["tx_time_ms", "rx_decode_time_ms", "in_flight_time_ms"],
        _ => &[],
    };
    for (position, name) in counts.iter().enumerate() {
        let is_id = position < if kind == Kind::Transfer { 2 } else { 1 };
        if random.one_in(if is_id { 20 } else { 2 }) {
            continue;
        }
        let value = if random.one_in(25) {
            Val::Unusable
        } else {
            Val::Number(random.below(if is_id { 3 } else { 50 }) as u64)
        };
        fields.push((name, value));
    }
    for name in times {
        if random.one_in(8) {
            // In nanoseconds; recorded as milliseconds.
            fields.push((name, Val::Number(random.below(5_000) as u64 * 1_000)));
        }
    }
    if matches!(kind, Kind::Request | Kind::Stage | Kind::Transfer)
        && random.one_in(if kind == Kind::Request { 1 } else { 3 })
    {
        fields.push(("request_id", Val::Text(random.pick(&["a", "b", "c"]).unwrap())));
    }
    if kind == Kind::Stage {
        if random.one_in(4) {
            fields.extend(random_output(random));
        }
        if random.one_in(5) {
            fields.push(("scheduled", Val::Text("now")));
        }
    }
    match kind {
        Kind::Stage if random.one_in(4) => {
            fields.push(("stage_name", Val::Text(random.pick(&["thinker", "talker"]).unwrap())))
        }
        Kind::Stage if random.one_in(3) => fields.push(("first_output", Val::Text("now"))),
        Kind::Transfer if random.one_in(2) => {
            fields.push(("phase", Val::Text(random.pick(&["tx", "rx"]).unwrap())))
        }
        Kind::Request if random.one_in(3) => fields.push(("finish_reason", Val::Text("stop"))),
        _ => {}
    }
    fields
}

/// Units, media, or both, in the order in which they are recorded.
fn random_output(random: &mut Random) -> Fields {
    let mut fields = Fields::new();
    let what = random.below(4);
    if what < 3 {
        let units = if random.one_in(20) { Val::Unusable } else { Val::Number(random.below(5) as u64) };
        fields.push(("output", units));
    }
    if what > 1 {
        // As long as one and a half steps.
        let media = Val::Number(random.below(3_000) as u64 * 1_000);
        fields.push(("output_media_ms", if random.one_in(20) { Val::Unusable } else { media }));
    }
    fields
}

/// The fields as `tracing` values. Unusable is a negative number; times are in milliseconds.
struct Values(BTreeMap<&'static str, Box<dyn tracing::Value + Send>>);

impl Values {
    fn of(fields: &Fields) -> Self {
        let value = |name: &str, value: &Val| -> Box<dyn tracing::Value + Send> {
            match value {
                Val::Number(nanos) if name.ends_with("_ms") => Box::new(*nanos as f64 / 1e6),
                Val::Number(number) => Box::new(*number),
                Val::Text(text) => Box::new(*text),
                Val::Unusable => Box::new(-1_i64),
            }
        };
        Self(fields.iter().map(|(name, given)| (*name, value(name, given))).collect())
    }

    fn get(&self, name: &str) -> Option<&dyn tracing::Value> {
        self.0.get(name).map(|value| &**value as &dyn tracing::Value)
    }
}

#[derive(Debug, Clone)]
enum Parent {
    Contextual,
    Root,
    Explicit(Span),
}

/// Makes a span of any kind with any parent from one list of fields.
macro_rules! any_span {
    ($parent:expr, $name:literal, $values:expr, [$($field:ident),*]) => {
        match $parent {
            Parent::Contextual => info_span!($name $(, $field = $values.get(stringify!($field)))*),
            Parent::Root => info_span!(parent: None, $name $(, $field = $values.get(stringify!($field)))*),
            Parent::Explicit(parent) => info_span!(parent: &parent, $name $(, $field = $values.get(stringify!($field)))*),
        }
    };
}

fn make_span(kind: Kind, parent: Parent, values: &Values, declares_reason: bool) -> Span {
    match kind {
        Kind::Request if declares_reason => any_span!(parent, "request", values, [request_id, finish_reason]),
        Kind::Request => any_span!(parent, "request", values, [request_id]),
        Kind::Stage => any_span!(
            parent,
            "stage",
            values,
            [
                request_id,
                stage_id,
                batch_id,
                batch_size,
                num_tokens_in,
                num_tokens_out,
                preprocess_time_ms,
                stage_gen_time_ms,
                stage_name,
                first_output,
                scheduled,
                num_tokens_cached,
                num_tokens_reasoning,
                output,
                output_media_ms
            ]
        ),
        Kind::Transfer => any_span!(
            parent,
            "transfer",
            values,
            [
                request_id,
                from_stage,
                to_stage,
                size_bytes,
                tx_time_ms,
                rx_decode_time_ms,
                in_flight_time_ms,
                phase
            ]
        ),
        Kind::Preprocess => any_span!(parent, "preprocess", values, []),
        Kind::Foreign => any_span!(parent, "foreign", values, []),
    }
}

/// A program under way: the handles that are alive, and what each thread has entered.
struct Run<'a> {
    random: Random,
    rig: Rig,
    model: Model,
    workers: &'a Workers,
    handles: Vec<(SpanId, Span)>,
    stacks: [Vec<(SpanId, Span)>; 2],
}

/// Runs the program of `seed`. Returns the layer's lines and the model's, brought to one form, and how many
/// requests were held.
pub fn run(seed: u64, workers: &Workers) -> (Vec<Value>, Vec<Value>, usize) {
    let mut run = Run {
        random: Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)),
        rig: Rig::new(),
        model: Model::default(),
        workers,
        handles: Vec::new(),
        stacks: [Vec::new(), Vec::new()],
    };
    for _ in 0..10 + run.random.below(60) {
        run.step();
    }
    run.finish();
    run.look();
    // Merging the distributions costs as much as the program.
    if seed.is_multiple_of(8) {
        run.compare_snapshot(seed);
    }
    let expected = std::mem::take(&mut run.model.lines).into_iter().map(|mut line| {
        let members = line.as_object_mut().unwrap();
        let end = members.remove("end").unwrap().as_u64().unwrap();
        members.insert("end_micros".into(), json!(end / 1_000));
        line
    });
    let expected = expected.collect();
    let actual = run.rig.log.lines().into_iter().map(comparable).collect();
    (actual, expected, run.model.held)
}

/// The line with its end in microseconds since the origin, its warnings counted, and a generated id
/// named so. The rate is left to [`assert_invariants`].
fn comparable(mut line: Value) -> Value {
    let members = line.as_object_mut().unwrap();
    let timestamp = members.remove("timestamp").unwrap();
    let timestamp: omni_metrics::Timestamp = serde_json::from_value(timestamp).unwrap();
    members.insert("end_micros".into(), json!(timestamp.unix_micros() - 1_769_860_800_000_000));
    let warnings = members.get("warnings").and_then(Value::as_array).map_or(0, Vec::len);
    members.insert("warnings".into(), json!(warnings));
    if members["request_id"].as_str().is_some_and(|id| id.starts_with("req-")) {
        members.insert("request_id".into(), json!("generated"));
    }
    line
}

impl Run<'_> {
    fn tick(&mut self) {
        // Whole microseconds, so that timestamps lose nothing.
        let nanos = 1_000 * (1 + self.random.below(2_000) as u64);
        self.rig.time.advance(Duration::from_nanos(nanos));
        self.model.now += nanos;
    }

    fn on<T: Send + 'static>(&self, thread: usize, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.workers.run(thread, &self.rig.dispatch, job)
    }

    fn open_spans(&self) -> Vec<usize> {
        (0..self.handles.len()).collect()
    }

    fn step(&mut self) {
        self.tick();
        let thread = self.random.below(2);
        let open = self.open_spans();
        match self.random.below(26) {
            0..=6 => self.create(thread),
            7..=9 => {
                if let Some(at) = self.random.pick(&open) {
                    self.enter(thread, at);
                }
            }
            10..=11 => self.exit(thread),
            12..=13 => {
                if let Some(at) = self.random.pick(&open) {
                    self.record(thread, at);
                }
            }
            14 => {
                if let (Some(at), Some(other)) = (self.random.pick(&open), self.random.pick(&open)) {
                    let (id, span) = self.handles[at].clone();
                    let (other, followed) = (self.handles[other].0, self.handles[other].1.clone());
                    self.model.follow(id, other);
                    self.on(thread, move || {
                        span.follows_from(&followed);
                    });
                }
            }
            15 => {
                if let Some(at) = self.random.pick(&open) {
                    let (id, span) = self.handles[at].clone();
                    self.model.hold(id);
                    self.handles.push((id, span));
                }
            }
            16..=17 => {
                if let Some(at) = self.random.pick(&open) {
                    let (id, span) = self.handles.swap_remove(at);
                    self.on(thread, move || drop(span));
                    self.model.release(id);
                }
            }
            18 => self.panic(thread),
            19..=21 => self.record_output(thread),
            22 => self.error(thread),
            23 => self.look(),
            24 => self.batch(thread),
            _ => self.cancel(thread),
        }
    }

    fn create(&mut self, thread: usize) {
        let kinds = [
            Kind::Request,
            Kind::Request,
            Kind::Stage,
            Kind::Stage,
            Kind::Stage,
            Kind::Transfer,
            Kind::Transfer,
            Kind::Preprocess,
            Kind::Foreign,
        ];
        let kind = self.random.pick(&kinds).unwrap();
        let fields = random_fields(kind, &mut self.random);
        let open = self.open_spans();
        let (parent, parent_id) = match self.random.below(4) {
            0 => (Parent::Root, None),
            1 => (Parent::Contextual, self.current(thread)),
            _ => match self.random.pick(&open) {
                Some(at) => (Parent::Explicit(self.handles[at].1.clone()), Some(self.handles[at].0)),
                None => (Parent::Contextual, self.current(thread)),
            },
        };
        let declares = !self.random.one_in(3);
        let id = self.model.create(kind, parent_id, &fields, declares);
        let span = self.on(thread, move || make_span(kind, parent, &Values::of(&fields), declares));
        self.handles.push((id, span));
    }

    /// A stage that serves up to three of the open requests.
    fn batch(&mut self, thread: usize) {
        let is_request = |at: &usize| self.model.kind(self.handles[*at].0) == Kind::Request;
        let requests: Vec<_> = (0..self.handles.len()).filter(is_request).collect();
        if requests.is_empty() {
            return;
        }
        let mut fields = random_fields(Kind::Stage, &mut self.random);
        fields.retain(|(name, _)| *name != "request_id");
        let id = self.model.create(Kind::Stage, None, &fields, false);
        let span = self.on(thread, move || make_span(Kind::Stage, Parent::Root, &Values::of(&fields), false));
        for _ in 0..3 {
            let (request, followed) = self.handles[self.random.pick(&requests).unwrap()].clone();
            self.model.follow(id, request);
            span.follows_from(&followed);
        }
        self.handles.push((id, span));
    }

    /// What `tracing` takes for the current span: the last entered, repeated enters apart.
    fn current(&self, thread: usize) -> Option<SpanId> {
        let stack = &self.stacks[thread];
        let is_first = |at: &usize| !stack[..*at].iter().any(|(id, _)| *id == stack[*at].0);
        (0..stack.len()).rev().find(is_first).map(|at| stack[at].0)
    }

    fn enter(&mut self, thread: usize, at: usize) {
        let (id, span) = self.handles[at].clone();
        self.model.enter(id);
        self.model.hold(id);
        self.stacks[thread].push((id, span.clone()));
        self.on(thread, move || {
            span.with_subscriber(|(id, dispatch)| dispatch.enter(id));
        });
    }

    /// Leaves any entered span, out of order too.
    fn exit(&mut self, thread: usize) {
        let entered: Vec<usize> = (0..self.stacks[thread].len()).collect();
        let Some(at) = self.random.pick(&entered) else { return };
        // The registry takes the innermost enter of the span.
        let id = self.stacks[thread][at].0;
        let innermost = self.stacks[thread].iter().rposition(|(other, _)| *other == id).unwrap();
        let (id, span) = self.stacks[thread].remove(innermost);
        self.model.exit(id);
        self.on(thread, move || {
            span.with_subscriber(|(id, dispatch)| dispatch.exit(id));
        });
        self.model.release(id);
    }

    fn record(&mut self, thread: usize, at: usize) {
        let (id, span) = self.handles[at].clone();
        let kind = self.model.kind(id);
        let fields = random_fields(kind, &mut self.random);
        self.record_fields(thread, id, span, fields);
    }

    fn record_fields(&mut self, thread: usize, id: SpanId, span: Span, fields: Fields) {
        self.model.record(id, &fields);
        self.on(thread, move || {
            for (name, value) in &Values::of(&fields).0 {
                span.record(*name, &**value as &dyn tracing::Value);
            }
        });
    }

    /// A chunk leaves one of the open stages.
    fn record_output(&mut self, thread: usize) {
        let is_stage = |at: &usize| self.model.kind(self.handles[*at].0) == Kind::Stage;
        let stages: Vec<_> = (0..self.handles.len()).filter(is_stage).collect();
        let Some(at) = self.random.pick(&stages) else { return };
        let (id, span) = self.handles[at].clone();
        let fields = random_output(&mut self.random);
        self.record_fields(thread, id, span, fields);
    }

    /// An `ERROR` event in the current span of the thread, or in any other one.
    fn error(&mut self, thread: usize) {
        let open = self.open_spans();
        let parent = self.random.pick(&open).filter(|_| self.random.one_in(2));
        let parent = parent.map(|at| self.handles[at].clone());
        let inside = parent.as_ref().map(|(id, _)| *id).or_else(|| self.current(thread));
        let (message, error) = (
            self.random.pick(&[None, Some("message")]).unwrap(),
            self.random.pick(&[None, Some("error")]).unwrap(),
        );
        self.model.error(inside, message.or(error));
        self.on(thread, move || match parent {
            Some((_, span)) => tracing::error!(parent: &span, message, error),
            None => tracing::error!(message, error),
        });
    }

    /// A look at a request changes nothing.
    fn look(&self) {
        for id in ["a", "b", "c", "d"] {
            assert_eq!(self.rig.handle.request(id).is_some(), self.model.is_open_by_id(id));
        }
    }

    /// A handler that panics inside of a request and a stage of its own.
    fn panic(&mut self, thread: usize) {
        let parent = self.current(thread);
        let declares = self.random.one_in(2);
        let request = self.model.create(Kind::Request, parent, &[], declares);
        self.model.enter(request);
        let stage = self.model.create(Kind::Stage, Some(request), &[("stage_id", Val::Number(1))], false);
        self.model.enter(stage);
        self.on(thread, move || {
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                let _request = if declares {
                    info_span!("request", request_id = Empty, finish_reason = Empty).entered()
                } else {
                    info_span!("request", request_id = Empty).entered()
                };
                let _stage = info_span!("stage", stage_id = 1).entered();
                // Without the hook, which would print ten thousand panics.
                std::panic::resume_unwind(Box::new("on purpose"));
            }));
            assert!(outcome.is_err());
        });
        self.model.unwinding = true;
        self.model.exit(stage);
        self.model.release(stage);
        self.model.exit(request);
        self.model.release(request);
        self.model.unwinding = false;
    }

    /// A stage that is polled once and then cancelled: `Instrumented` enters to drop the future.
    fn cancel(&mut self, thread: usize) {
        let parent = self.current(thread);
        let stage = self.model.create(Kind::Stage, parent, &[("stage_id", Val::Number(2))], false);
        let mut future = Box::pin({
            let span = self.on(thread, || info_span!("stage", stage_id = 2));
            pending::<()>().instrument(span)
        });
        self.tick();
        for is_last in [false, true] {
            self.model.enter(stage);
            self.model.exit(stage);
            if is_last {
                self.on(1 - thread, move || drop(future));
                break;
            }
            future = self.on(thread, move || {
                assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                future
            });
            self.tick();
        }
        self.model.release(stage);
    }

    /// The distribution of the gaps is over every gap of a stage, in requests and in detached rows.
    fn compare_snapshot(&self, seed: u64) {
        let snapshot = self.rig.handle.snapshot();
        assert_eq!(snapshot.open_requests, 0, "seed {seed}");
        let stages = snapshot.percentiles.stages;
        let found: Vec<_> = stages
            .iter()
            .filter_map(|stage| {
                let gaps = stage.inter_output_ms?;
                Some((stage.stage_id, gaps.count, gaps.mean.as_nanos(), gaps.max.as_nanos()))
            })
            .collect();
        let mut expected: Vec<_> = self
            .model
            .gaps
            .iter()
            .filter(|(_, gaps)| !gaps.is_empty())
            .map(|(stage_id, gaps)| {
                let count = gaps.len() as u64;
                (
                    *stage_id,
                    count,
                    (gaps.iter().sum::<u64>() + count / 2) / count,
                    *gaps.iter().max().unwrap(),
                )
            })
            .collect();
        expected.sort_by_key(|(stage_id, ..)| (stage_id.is_none(), *stage_id));
        assert_eq!(found, expected, "seed {seed}");
    }

    /// Leaves and drops everything, so that every span closes.
    fn finish(&mut self) {
        for thread in [0, 1] {
            while !self.stacks[thread].is_empty() {
                self.tick();
                self.exit(thread);
            }
        }
        while let Some((id, span)) = self.handles.pop() {
            self.tick();
            self.on(0, move || drop(span));
            self.model.release(id);
        }
    }
}

/// Section 4 of docs/numbers.md.
pub fn assert_invariants(seed: u64, lines: &[Value]) {
    let mut requests = 0;
    for line in lines.iter().filter(|line| line["type"] == "request") {
        requests += 1;
        assert_eq!(line["overall_summary"]["e2e_requests"], requests, "seed {seed}");
        let e2e = &line["e2e_table"];
        let summary = &line["overall_summary"];
        let number = |value: &Value| value.as_f64().unwrap();
        let (tokens, wall) = (number(&summary["e2e_total_tokens"]), number(&summary["e2e_wall_time_ms"]));
        let rate = if wall > 0.0 { tokens * 1_000.0 / wall } else { 0.0 };
        assert!((number(&summary["e2e_avg_tokens_per_s"]) - rate).abs() <= 1e-5, "seed {seed}: {line:#}");
        assert!(number(&e2e["unattributed_time_ms"]) <= number(&e2e["e2e_total_ms"]), "seed {seed}");
        let waited = e2e.get("waiting_time_ms").map_or(0.0, number);
        assert!(waited <= number(&e2e["unattributed_time_ms"]), "seed {seed}");
        for row in line["stage_table"].as_array().unwrap() {
            let (busy, time) = (row["busy_time_ms"].as_f64(), row["stage_gen_time_ms"].as_f64());
            assert!(busy.is_some() == time.is_some(), "seed {seed}");
            assert_ne!(row.get("share_time_ms"), Some(&row["stage_gen_time_ms"]), "seed {seed}");
        }
    }
}
