//! What the lines of a run stand for, and how far that may be from its totals.

use super::{
    bounds::{bernstein, binomial},
    identity::State,
    witness::{Request, Totals},
};

/// Sums over lines in the order of their numbers. They begin after the first line, whose own number and
/// totals are exact, so that a log may begin in the middle of a run.
#[derive(Debug, Default, Clone)]
pub(super) struct Estimate {
    first: Option<State>,
    last: Option<State>,
    sampled: Weights,
    others: Weights,
    left_out: LeftOut,
}

/// Lines and their tokens.
#[derive(Debug, Default, Clone)]
struct Weights {
    lines: u64,
    tokens: u64,
    squares: f64,
    most: u64,
}

/// The requests without a line: how many there are between two lines, and their tokens in sum, is known.
#[derive(Debug, Default, Clone)]
struct LeftOut {
    requests: u64,
    tokens: u64,
    /// By how much the tokens of a gap differ from those of the same number of average requests: a request
    /// with very many tokens shows in the gap that it is in.
    squares: f64,
    most: f64,
}

impl Weights {
    fn add(&mut self, tokens: u64) {
        self.lines += 1;
        self.tokens = self.tokens.saturating_add(tokens);
        self.squares += tokens as f64 * tokens as f64;
        self.most = self.most.max(tokens);
    }
}

impl LeftOut {
    /// The gap between the line before and one of `own` tokens, which counts the run up to `next`.
    fn add(&mut self, last: State, next: State, own: u64) {
        let requests = next.requests.saturating_sub(last.requests);
        let tokens = next.tokens.saturating_sub(last.tokens).saturating_sub(own);
        self.requests = self.requests.saturating_add(requests);
        self.tokens = self.tokens.saturating_add(tokens);
        let mean = next.tokens as f64 / next.requests.max(1) as f64;
        let difference = tokens as f64 - mean * requests as f64;
        self.squares += difference * difference;
        self.most = self.most.max(difference);
    }
}

impl Estimate {
    /// The run up to the last line that was added in order.
    pub(super) fn last(&self) -> Option<State> {
        self.last
    }

    /// Adds the line with the next number.
    pub(super) fn add(&mut self, line: &Request) {
        let Some(last) = self.last.replace(line.run) else {
            self.first = Some(line.run);
            return;
        };
        self.count(line);
        let before = State { requests: line.run.requests.saturating_sub(1), ..line.run };
        self.left_out.add(last, before, line.tokens);
    }

    /// Adds a line whose number is not greater than that of the last one.
    pub(super) fn add_late(&mut self, line: &Request) {
        if self.first.is_some_and(|first| first.requests < line.run.requests) {
            self.count(line);
        }
    }

    fn count(&mut self, line: &Request) {
        let weights = if line.sample_rate.is_some() { &mut self.sampled } else { &mut self.others };
        weights.add(line.tokens);
    }

    /// Compares with the totals of the run, of which one in `rate` of the requests that no class has kept
    /// have a line.
    pub(super) fn judge(&self, rate: u32, totals: &Totals) -> Vec<String> {
        let mut violations = Vec::new();
        let Some(first) = self.first.filter(|_| rate > 1) else { return violations };
        let Self { sampled, others, .. } = self;
        let requests = totals.run.requests.saturating_sub(first.requests);
        let drawn = requests.saturating_sub(others.lines);
        // Lines that were lost may be any of them.
        let (least, most) = (binomial(drawn.saturating_sub(totals.lost), rate).0, binomial(drawn, rate).1);
        if sampled.lines.saturating_add(totals.lost) < least || sampled.lines > most {
            let stand_for = others.lines.saturating_add(sampled.lines.saturating_mul(rate.into()));
            violations.push(format!(
                "sample: {} lines with a sample_rate and {} without stand for {stand_for} requests since \
                 e2e_requests {}, where there were {requests}: expected {least} to {most} lines with one",
                sampled.lines, others.lines, first.requests
            ));
        }
        if totals.lost == 0 {
            violations.extend(self.judge_tokens(rate, first, totals));
        }
        violations
    }

    fn judge_tokens(&self, rate: u32, first: State, totals: &Totals) -> Option<String> {
        let Self { sampled, others, .. } = self;
        let mut left_out = self.left_out.clone();
        left_out.add(self.last?, totals.run, 0);
        let mean = left_out.tokens as f64 / left_out.requests.max(1) as f64;
        let squares = sampled.squares + left_out.squares + mean * mean * left_out.requests as f64;
        let largest = (sampled.most as f64).max(left_out.most + mean);
        let times = f64::from(rate - 1);
        let room = bernstein(times * squares, times * largest);
        let estimate = others.tokens.saturating_add(sampled.tokens.saturating_mul(rate.into()));
        let exact = totals.run.tokens.saturating_sub(first.tokens);
        (estimate.abs_diff(exact) as f64 > room).then(|| {
            format!(
                "sample: the lines stand for {estimate} tokens since e2e_requests {}, where there were \
                 {exact}: expected a difference of at most {room:.0}",
                first.requests
            )
        })
    }
}
