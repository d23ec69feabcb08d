//! One request of three stages and two transfers with every documented field, as spans and by hand.

use std::{
    io::Write,
    sync::{Mutex, PoisonError},
    time::{Instant, SystemTime},
};

use serde::Serialize;
use tracing::{Span, field::Empty, info_span};

pub const STAGES: [&str; 3] = ["thinker", "talker", "code2wav"];
pub const TOKENS_IN: u64 = 4860;
pub const TOKENS_OUT: u64 = 67;
pub const BATCH_ID: u64 = 38;
pub const BATCH_SIZE: u64 = 1;
pub const PREPROCESS_MS: f64 = 256.158;
pub const GEN_MS: f64 = 9910.007;
pub const SIZE_BYTES: u64 = 111_900_005;
pub const TX_MS: f64 = 78.75;
pub const RX_MS: f64 = 111.5;
pub const IN_FLIGHT_MS: f64 = 2.125;

/// The request as annotated code makes it.
pub fn spans(id: &str) {
    end(open(id));
}

/// The request with all its stages and transfers, until it ends.
pub fn open(id: &str) -> Span {
    let request = info_span!("request", request_id = id, finish_reason = Empty);
    request.in_scope(|| {
        for (stage_id, stage_name) in (0_u64..).zip(STAGES) {
            let stage = info_span!(
                "stage",
                stage_id,
                batch_id = BATCH_ID,
                batch_size = BATCH_SIZE,
                num_tokens_in = TOKENS_IN,
                num_tokens_out = Empty,
                preprocess_time_ms = PREPROCESS_MS,
                stage_gen_time_ms = GEN_MS,
                stage_name
            );
            stage.in_scope(|| {
                stage.record("num_tokens_out", TOKENS_OUT);
            });
            drop(stage);
            if stage_id < 2 {
                let transfer = info_span!(
                    "transfer",
                    from_stage = stage_id,
                    to_stage = stage_id + 1,
                    size_bytes = SIZE_BYTES,
                    tx_time_ms = TX_MS,
                    rx_decode_time_ms = RX_MS,
                    in_flight_time_ms = IN_FLIGHT_MS
                );
                transfer.in_scope(|| ());
            }
        }
    });
    request.record("finish_reason", "stop");
    request
}

/// The end of a request. A function of its own, so that its instructions can be counted.
#[inline(never)]
pub fn end(request: Span) {
    drop(request);
}

/// How many outputs a stage of [`streams`] has.
const OUTPUTS: u64 = 64;

/// A request whose stages stream their outputs.
#[allow(dead_code, reason = "not every benchmark streams")]
pub fn streams(id: &str) {
    let request = info_span!("request", request_id = id, finish_reason = Empty);
    request.in_scope(|| {
        for (stage_id, stage_name) in (0_u64..).zip(STAGES) {
            let stage = info_span!("stage", stage_id, stage_name, num_tokens_in = TOKENS_IN, output = Empty);
            stage.in_scope(|| {
                for _ in 0..OUTPUTS {
                    stage.record("output", 1_u64);
                }
            });
        }
    });
    request.record("finish_reason", "stop");
}

#[derive(Serialize)]
struct Line<'a> {
    r#type: &'static str,
    schema: u32,
    timestamp: String,
    request_id: &'a str,
    overall_summary: Summary,
    e2e_table: E2e,
    stage_table: Vec<Stage>,
    transfer_table: Vec<Transfer>,
}

#[derive(Serialize)]
struct Summary {
    e2e_requests: u64,
    e2e_wall_time_ms: f64,
    e2e_total_tokens: u64,
    e2e_avg_time_per_request_ms: f64,
    e2e_avg_tokens_per_s: f64,
    stage_wall_time_ms: Vec<f64>,
}

#[derive(Serialize)]
struct E2e {
    e2e_total_ms: f64,
    e2e_total_tokens: u64,
    transfers_total_time_ms: f64,
    transfers_total_bytes: u64,
    queue_time_ms: f64,
    unattributed_time_ms: f64,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Stage {
    stage_id: u64,
    batch_id: u64,
    batch_size: u64,
    num_tokens_in: u64,
    num_tokens_out: u64,
    preprocess_time_ms: f64,
    stage_gen_time_ms: f64,
    stage_name: &'static str,
    busy_time_ms: f64,
    queue_time_ms: f64,
    start_ms: f64,
    events: u64,
}

#[derive(Serialize)]
struct Transfer {
    from_stage: u64,
    to_stage: u64,
    size_bytes: u64,
    tx_time_ms: f64,
    rx_decode_time_ms: f64,
    in_flight_time_ms: f64,
    total_time_ms: f64,
    start_ms: f64,
    events: u64,
}

/// What a service without spans would keep to write the same line itself.
#[derive(Default)]
pub struct ByHand {
    run: Mutex<Run>,
}

#[derive(Default)]
struct Run {
    requests: u64,
    tokens: u64,
    wall: Option<(Instant, Instant)>,
    stage_walls: Vec<(Instant, Instant)>,
}

fn ms(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_nanos() as f64 / 1e6
}

impl ByHand {
    /// The same request, timed and written by hand.
    pub fn request(&self, id: &str, out: &mut impl Write) -> std::io::Result<()> {
        let created = Instant::now();
        let entered = Instant::now();
        let mut stage_table = Vec::with_capacity(3);
        let mut transfer_table = Vec::with_capacity(2);
        let mut intervals = Vec::with_capacity(5);
        let mut stage_intervals = Vec::with_capacity(3);
        for (stage_id, stage_name) in (0_u64..).zip(STAGES) {
            let made = Instant::now();
            let start = Instant::now();
            let end = Instant::now();
            stage_table.push(Stage {
                stage_id,
                batch_id: BATCH_ID,
                batch_size: BATCH_SIZE,
                num_tokens_in: TOKENS_IN,
                num_tokens_out: TOKENS_OUT,
                preprocess_time_ms: PREPROCESS_MS,
                stage_gen_time_ms: GEN_MS,
                stage_name,
                busy_time_ms: ms(start, end),
                queue_time_ms: ms(made, start),
                start_ms: ms(created, start),
                events: 1,
            });
            intervals.push((start, end));
            stage_intervals.push((start, end));
            if stage_id < 2 {
                let start = Instant::now();
                let end = Instant::now();
                transfer_table.push(Transfer {
                    from_stage: stage_id,
                    to_stage: stage_id + 1,
                    size_bytes: SIZE_BYTES,
                    tx_time_ms: TX_MS,
                    rx_decode_time_ms: RX_MS,
                    in_flight_time_ms: IN_FLIGHT_MS,
                    total_time_ms: TX_MS + RX_MS + IN_FLIGHT_MS,
                    start_ms: ms(created, start),
                    events: 1,
                });
                intervals.push((start, end));
            }
        }
        let left = Instant::now();
        let end = intervals.iter().fold(left.max(entered), |latest, interval| latest.max(interval.1));
        let tokens = TOKENS_IN + stage_table.iter().map(|stage| stage.num_tokens_out).sum::<u64>();
        let e2e_table = E2e {
            e2e_total_ms: ms(created, end),
            e2e_total_tokens: tokens,
            transfers_total_time_ms: transfer_table.iter().map(|transfer| transfer.total_time_ms).sum(),
            transfers_total_bytes: transfer_table.iter().map(|transfer| transfer.size_bytes).sum(),
            queue_time_ms: stage_intervals.first().map_or(0.0, |first| ms(created, first.0)),
            unattributed_time_ms: (ms(created, end) - union(&mut intervals)).max(0.0),
            finish_reason: "stop",
        };
        let line = Line {
            r#type: "request",
            schema: 1,
            timestamp: humantime::format_rfc3339_micros(SystemTime::now()).to_string(),
            request_id: id,
            overall_summary: self.count(created, end, tokens, &stage_intervals),
            e2e_table,
            stage_table,
            transfer_table,
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        out.write_all(&bytes)
    }

    fn count(&self, created: Instant, end: Instant, tokens: u64, stages: &[(Instant, Instant)]) -> Summary {
        let mut run = self.run.lock().unwrap_or_else(PoisonError::into_inner);
        run.requests += 1;
        run.tokens += tokens;
        let (first, last) = run.wall.unwrap_or((created, end));
        let (first, last) = (first.min(created), last.max(end));
        run.wall = Some((first, last));
        for (at, stage) in stages.iter().enumerate() {
            match run.stage_walls.get_mut(at) {
                Some(wall) => *wall = (wall.0.min(stage.0), wall.1.max(stage.1)),
                None => run.stage_walls.push(*stage),
            }
        }
        let wall = ms(first, last);
        Summary {
            e2e_requests: run.requests,
            e2e_wall_time_ms: wall,
            e2e_total_tokens: run.tokens,
            e2e_avg_time_per_request_ms: wall / run.requests as f64,
            e2e_avg_tokens_per_s: if wall > 0.0 { run.tokens as f64 * 1e3 / wall } else { 0.0 },
            stage_wall_time_ms: run.stage_walls.iter().map(|wall| ms(wall.0, wall.1)).collect(),
        }
    }
}

fn union(intervals: &mut [(Instant, Instant)]) -> f64 {
    intervals.sort_unstable();
    let (mut covered, mut until) = (0.0, None);
    for &(start, end) in intervals.iter() {
        let from = until.map_or(start, |until: Instant| until.max(start));
        if end > from {
            covered += ms(from, end);
            until = Some(end);
        }
    }
    covered
}
