//! Joined logs against what really happened.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use omni_metrics::{Line, Millis, RequestLine, StageRow, TransferRow};

use crate::{
    Deviation, Result,
    truth::{Attempt, Half, Stage},
};

/// Timestamps are cut to microseconds, at the ends of a request and of a row, and `sent_at_unix_ms` is a float.
const TOLERANCE: u64 = 3_000;
/// A quotient is rounded.
const QUOTIENT: u64 = 1;
/// How many violations are kept.
const KEPT: usize = 20;

/// What a comparison found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Joined requests that were compared.
    pub requests: u64,
    /// Joined requests that were left out: an earlier or later attempt has no line, and may have given them rows.
    pub left_out: u64,
    /// Ids of which rows were written, but no line of a request.
    pub without_line: u64,
    /// By how much each number is off.
    pub deviations: Vec<Deviation>,
    /// What is neither exact nor off by as much as the clocks are.
    pub violations: Vec<String>,
}

/// Compares what `omni-metrics join` made of the logs with what really happened.
///
/// # Errors
///
/// Fails if a file cannot be read.
pub fn check(truth: &Path, joined: &Path) -> Result<Findings> {
    let mut attempts = HashMap::<String, Vec<Attempt>>::new();
    for line in BufReader::new(File::open(truth)?).lines() {
        let attempt: Attempt = serde_json::from_str(&line?)?;
        attempts.entry(attempt.request_id.clone()).or_default().push(attempt);
    }
    let mut lines = HashMap::<String, Vec<RequestLine>>::new();
    for line in BufReader::new(File::open(joined)?).lines() {
        if let Line::Request(line) = line?.parse()? {
            lines.entry(line.request_id.clone()).or_default().push(line);
        }
    }
    let mut checking = Checking::default();
    let mut ids: Vec<_> = attempts.iter_mut().collect();
    ids.sort_unstable_by_key(|(id, _)| id.as_str());
    for (id, attempts) in ids {
        checking.id(id, attempts, lines.remove(id).unwrap_or_default());
    }
    if !lines.is_empty() {
        checking.violation(format!("{} ids that no client sent", lines.len()));
    }
    Ok(checking.findings())
}

#[derive(Default)]
struct Checking {
    findings: Findings,
    deviations: BTreeMap<&'static str, Deviation>,
    violations: usize,
}

impl Checking {
    fn findings(self) -> Findings {
        let mut findings = self.findings;
        findings.deviations = self.deviations.into_values().collect();
        findings.deviations.iter_mut().for_each(Deviation::complete);
        if self.violations > KEPT {
            findings.violations.push(format!("and {} more", self.violations - KEPT));
        }
        findings
    }

    fn violation(&mut self, what: String) {
        self.violations += 1;
        if self.violations <= KEPT {
            self.findings.violations.push(what);
        }
    }

    fn id(&mut self, id: &str, attempts: &mut Vec<Attempt>, mut lines: Vec<RequestLine>) {
        let has_rows = |attempt: &Attempt| attempt.spans().any(|span| !span.is_own);
        let is_spoiled = attempts.iter().any(|attempt| attempt.end.is_none() && has_rows(attempt));
        attempts.retain(|attempt| attempt.end.is_some());
        attempts.sort_unstable_by_key(|attempt| attempt.begin);
        lines.sort_by_key(|line| line.timestamp.unix_micros());
        if attempts.len() != lines.len() {
            self.violation(format!("{id}: {} attempts, {} lines", attempts.len(), lines.len()));
        } else if attempts.is_empty() {
            self.findings.without_line += u64::from(is_spoiled);
        } else if is_spoiled {
            self.findings.left_out += lines.len() as u64;
        } else {
            self.findings.requests += lines.len() as u64;
            attempts.iter().zip(&lines).for_each(|(attempt, line)| self.request(attempt, line));
        }
    }

    fn request(&mut self, attempt: &Attempt, line: &RequestLine) {
        let table = &line.e2e_table;
        self.same(attempt, "finish_reason", &attempt.finish_reason, &table.finish_reason);
        self.same(attempt, "errors", attempt.errors, table.errors.unwrap_or_default());
        let mut stages = BTreeMap::<u64, Vec<&Stage>>::new();
        for stage in &attempt.stages {
            stages.entry(stage.stage_id).or_default().push(stage);
        }
        let mut edges = BTreeMap::<(u64, u64), Vec<&Half>>::new();
        for half in &attempt.transfers {
            edges.entry((half.from_stage, half.to_stage)).or_default().push(half);
        }
        let ids: Vec<_> = line.stage_table.iter().filter_map(|row| row.stage_id).collect();
        self.same(attempt, "stages", stages.keys().copied().collect(), ids);
        let ends: Vec<_> =
            line.transfer_table.iter().filter_map(|row| row.from_stage.zip(row.to_stage)).collect();
        self.same(attempt, "edges", edges.keys().copied().collect(), ends);
        for (spans, row) in stages.values().zip(&line.stage_table) {
            self.stage(attempt, spans, row);
        }
        for (halves, row) in edges.values().zip(&line.transfer_table) {
            self.edge(attempt, halves, row);
        }

        let is_late =
            attempt.by_clocks(Attempt::e2e) > attempt.own_e2e() || attempt.e2e() > attempt.own_e2e();
        let number = if is_late { "e2e_total_ms, a worker's row last" } else { "e2e_total_ms" };
        let found = Some(table.e2e_total_ms);
        self.time(attempt, number, Some(attempt.e2e()), attempt.by_clocks(|seen| Some(seen.e2e())), found);
        let (queue, seen) = (attempt.queue(), attempt.by_clocks(Attempt::queue));
        self.time(attempt, "queue_time_ms of a request", queue, seen, table.queue_time_ms);
        let (true_rest, found) = (attempt.unattributed(), table.unattributed_time_ms.as_nanos());
        let off = true_rest.abs_diff(found);
        self.add("unattributed_time_ms", off);
        if off > attempt.displaced() + TOLERANCE * attempt.spans().count() as u64 {
            self.violation(format!(
                "{}: unattributed_time_ms: {found}, truly {true_rest}",
                attempt.request_id
            ));
        }
    }

    fn stage(&mut self, attempt: &Attempt, spans: &[&Stage], row: &StageRow) {
        let sum = |number: fn(&Stage) -> u64| Some(spans.iter().map(|stage| number(stage)).sum());
        let known = |number: fn(&Stage) -> Option<u64>| {
            spans.iter().filter_map(|stage| number(stage)).reduce(|a, b| a + b)
        };
        self.same(attempt, "events", spans.len() as u64, row.events);
        self.same(attempt, "num_tokens_in", sum(|stage| stage.tokens_in), row.num_tokens_in);
        let made = |stage: &Stage| stage.tokens_out;
        if spans.iter().all(|stage| made(stage).is_some()) {
            self.same(attempt, "num_tokens_out", known(made), row.num_tokens_out);
        }
        let outputs =
            Some(spans.iter().map(|stage| stage.outputs.len() as u64).sum()).filter(|count| *count > 0);
        self.same(attempt, "outputs", outputs, row.outputs);
        let media: f64 = spans.iter().map(|stage| stage.media_ms).sum();
        self.same(attempt, "media_ms", media, row.media_ms.map_or(0.0, Millis::as_f64));
        self.exact(attempt, "stage_gen_time_ms", sum(|stage| stage.span.length()), row.stage_gen_time_ms);
        self.exact(attempt, "busy_time_ms", sum(|stage| stage.busy), row.busy_time_ms);
        self.exact(
            attempt,
            "queue_time_ms of a stage",
            sum(|stage| stage.span.begin - stage.created),
            row.queue_time_ms,
        );
        self.exact(attempt, "preprocess_time_ms", known(|stage| stage.preprocess), row.preprocess_time_ms);
        if let [stage] = spans {
            self.gaps(attempt, stage, row);
        }
        let earliest = |seen: &Attempt, moment: fn(&Stage) -> Option<u64>| {
            let of_stage = seen.stages.iter().filter(|stage| Some(stage.stage_id) == row.stage_id);
            of_stage.filter_map(moment).min().map(|moment| moment - seen.begin)
        };
        let own = spans.iter().any(|stage| stage.span.is_own);
        let number = if own { "start_ms of an own row" } else { "start_ms of a worker's row" };
        let begin = |stage: &Stage| Some(stage.span.begin);
        let seen = attempt.by_clocks(|seen| earliest(seen, begin));
        self.time(attempt, number, earliest(attempt, begin), seen, row.start_ms);
        let first = |stage: &Stage| stage.outputs.first().copied();
        let seen = attempt.by_clocks(|seen| earliest(seen, first));
        self.time(
            attempt,
            "first_output_ms of a worker's row",
            earliest(attempt, first),
            seen,
            row.first_output_ms,
        );
    }

    /// What lies between the outputs of one span.
    fn gaps(&mut self, attempt: &Attempt, stage: &Stage, row: &StageRow) {
        let gaps = stage.outputs.windows(2).map(|pair| pair[1] - pair[0]);
        self.exact(attempt, "inter_output_max_ms", gaps.max(), row.inter_output_max_ms);
        let extent = stage.outputs.last().zip(stage.outputs.first()).map(|(last, first)| last - first);
        let tokens = stage.tokens_out.filter(|tokens| *tokens > 1);
        if let (Some(extent), Some(tokens), Some(found)) = (extent, tokens, row.time_per_output_token_ms) {
            let off = found.as_nanos().abs_diff(extent / (tokens - 1));
            self.add("time_per_output_token_ms", off.saturating_sub(QUOTIENT));
            if off > QUOTIENT {
                self.violation(format!("{}: time_per_output_token_ms: {found}", attempt.request_id));
            }
        }
    }

    fn edge(&mut self, attempt: &Attempt, halves: &[&Half], row: &TransferRow) {
        let sum =
            |half: fn(&Half) -> Option<u64>| halves.iter().filter_map(|is| half(is)).reduce(|a, b| a + b);
        self.same(attempt, "events", halves.len() as u64, row.events);
        self.same(attempt, "size_bytes", sum(|half| half.bytes), row.size_bytes);
        let tx = |half: &Half| half.sent.is_none().then(|| half.span.length());
        self.exact(attempt, "tx_time_ms", sum(tx), row.tx_time_ms);
        let rx = |half: &Half| half.sent.is_some().then(|| half.span.length());
        self.exact(attempt, "rx_decode_time_ms", sum(rx), row.rx_decode_time_ms);
        let seen = sum(|half| Some(half.flight_seen()).filter(|_| half.sent.is_some()));
        self.time(attempt, "in_flight_time_ms", sum(Half::flight), seen, row.in_flight_time_ms);
    }

    /// A count or a text.
    fn same<T: PartialEq + fmt::Debug>(&mut self, attempt: &Attempt, what: &str, truth: T, found: T) {
        if truth != found {
            self.violation(format!("{}: {what}: {found:?}, truly {truth:?}", attempt.request_id));
        }
    }

    /// A duration that one process has measured.
    fn exact(&mut self, attempt: &Attempt, number: &'static str, truth: Option<u64>, found: Option<Millis>) {
        self.same(attempt, number, truth, found.map(Millis::as_nanos));
        if let (Some(truth), Some(found)) = (truth, found) {
            self.add(number, truth.abs_diff(found.as_nanos()));
        }
    }

    /// A number that depends on the clocks of two processes. `seen` is what it is by their clocks.
    fn time(
        &mut self,
        attempt: &Attempt,
        number: &'static str,
        truth: Option<u64>,
        seen: Option<u64>,
        found: Option<Millis>,
    ) {
        let found = found.map(Millis::as_nanos);
        if seen.is_some() != found.is_some()
            || seen.zip(found).is_some_and(|(seen, found)| seen.abs_diff(found) > TOLERANCE)
        {
            let id = &attempt.request_id;
            self.violation(format!("{id}: {number}: {found:?}, by the clocks {seen:?}, truly {truth:?}"));
        }
        if let (Some(truth), Some(found)) = (truth, found) {
            self.add(number, truth.abs_diff(found));
        }
    }

    fn add(&mut self, number: &'static str, off: u64) {
        self.deviations.entry(number).or_insert_with(|| Deviation::of(number)).add(off);
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} requests compared, {} left out, {} ids without a line\n",
            self.requests, self.left_out, self.without_line
        )?;
        writeln!(
            f,
            "| number | values | exact | off by, ms: median | 99 % | most |\n|---|---|---|---|---|---|"
        )?;
        self.deviations.iter().try_for_each(|deviation| writeln!(f, "{deviation}"))?;
        self.violations.iter().try_for_each(|violation| writeln!(f, "wrong: {violation}"))
    }
}
