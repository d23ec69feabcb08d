//! What stands at the top of the page.

use serde::Serialize;

use super::{
    course::{Course, Placed},
    ending::{Ending, Endings},
    figures::{count, decimal, percent, shown},
    spent::{Part, Spent},
};
use crate::{
    Millis, OverallSummary, Timestamp,
    cli::{amount::amount, attainment::Attainment, parts, summary::LogSummary},
    write::columns::ABSENT,
};

/// A headline number.
#[derive(Debug, Serialize)]
pub(super) struct Tile {
    name: String,
    value: String,
}

/// An objective, and how the requests stand to it.
#[derive(Debug, Serialize)]
pub(super) struct Objective {
    text: String,
    met: String,
    broke: String,
    failed: String,
    without_value: String,
    share: String,
    /// Whether as many requests met it as are wanted, if that was said.
    is_attained: Option<bool>,
}

/// The time that the charts show, if they do not show all of it.
#[derive(Debug, Serialize)]
pub(super) struct Outside {
    from: String,
    to: String,
    /// How many requests began before that time, and when the first did.
    before: Option<Tile>,
    /// How many began after it, and when the last one ended.
    after: Option<Tile>,
    /// The same moments as arguments of the reader.
    until: String,
    since: String,
}

pub(super) fn outside(course: &Course) -> Option<Outside> {
    let Course { axis: (from, to), extent: (first, last), before, after, .. } = course;
    let stamp = |micros: &u64| Timestamp::from_unix_micros(*micros).to_string();
    let began = |at: &Placed, micros| Tile {
        name: amount(at.stretch.endings.all(), "request", "requests"),
        value: moment(micros),
    };
    (before.is_some() || after.is_some()).then(|| Outside {
        from: moment(*from),
        to: moment(*to),
        before: before.as_ref().map(|before| began(before, *first)),
        after: after.as_ref().map(|after| began(after, *last)),
        until: stamp(from),
        since: stamp(to),
    })
}

fn moment(micros: u64) -> String {
    Timestamp::from_unix_micros(micros).to_string().replace('T', " ").replace('Z', " UTC")
}

/// The first lines: when the run was, how its requests ended, and whether they met the objectives.
pub(super) fn facts(extent: (u64, u64), endings: &Endings, objectives: Option<&Attainment>) -> Vec<Tile> {
    let (begin, end) = extent;
    let duration = Millis::from_nanos((end - begin).saturating_mul(1_000));
    let aborted = match endings.of(Ending::Aborted) {
        0 => String::new(),
        aborted => format!(", of which {} aborted", count(aborted)),
    };
    let failed = endings.failed();
    let mut facts = vec![
        tile("start", moment(begin)),
        tile("end", moment(end)),
        tile("duration", shown(duration)),
        tile("failed", format!("{} ({}{aborted})", percent(failed, endings.all()), count(failed))),
    ];
    if let Some(objectives) = objectives {
        let Attainment { met, judged, goodput_requests_per_s, .. } = objectives;
        let of_all = format!("{} ({} of {})", share(*met, *judged), count(*met), count(*judged));
        facts.push(tile("met all objectives", of_all));
        facts.extend(
            goodput_requests_per_s
                .map(|goodput| tile("goodput", format!("{} requests a second", decimal(goodput)))),
        );
    }
    facts
}

pub(super) fn tiles(
    summary: &LogSummary,
    requests: u64,
    marks: &[(String, Millis)],
    whole: &Spent,
) -> Vec<Tile> {
    let OverallSummary { e2e_wall_time_ms, e2e_total_tokens, e2e_avg_tokens_per_s, .. } =
        &summary.line.overall_summary;
    let seconds = e2e_wall_time_ms.as_f64() / 1e3;
    let rate = if seconds > 0.0 { requests as f64 / seconds } else { 0.0 };
    let mut tiles = vec![tile("requests", count(requests)), tile("requests a second", decimal(rate))];
    tiles.extend(marks.iter().map(|(mark, time)| tile(&format!("e2e, {mark}"), shown(*time))));
    tiles.extend([
        tile("tokens", count(*e2e_total_tokens)),
        tile("tokens a second", decimal(*e2e_avg_tokens_per_s)),
    ]);
    let [waiting, unattributed] = idle(summary, whole);
    let shares = [("waiting, of e2e", waiting), ("unattributed, of e2e", unattributed)].into_iter();
    let shares = shares.filter(|(_, share)| *share > 0.0);
    tiles.extend(shares.map(|(part, share)| tile(part, format!("{:.1} %", share * 100.0))));
    tiles
}

/// The shares of waiting and unattributed time. They are those of `summary`, since the layer measured the
/// waits of each span, and the critical path has all spans of a row as one piece. In a log without
/// `waiting_time_ms`, only the path tells waiting from unattributed time.
fn idle(summary: &LogSummary, whole: &Spent) -> [f64; 2] {
    let share_of = |part: parts::Part| {
        let share = summary.shares_of_e2e.iter().find(|share| share.part == part.to_string());
        share.map(|share| share.share)
    };
    let on_path = |is_it: fn(&Part) -> bool| {
        let time: u128 = whole.parts().iter().filter(|(part, _)| is_it(part)).map(|(_, time)| time).sum();
        time as f64 / whole.total().max(1) as f64
    };
    match (share_of(parts::Part::Waiting), share_of(parts::Part::Unattributed)) {
        (Some(waiting), Some(unattributed)) => [waiting, unattributed],
        _ => [on_path(|part| matches!(part, Part::Waiting(_))), on_path(|part| *part == Part::Unattributed)],
    }
}

pub(super) fn objectives(attainment: &Attainment) -> Vec<Objective> {
    let each = attainment.each.iter().map(|row| Objective {
        text: row.objective.clone(),
        met: count(row.met),
        broke: count(row.broke),
        failed: count(attainment.failed),
        without_value: count(row.without_value),
        share: share(row.met, row.judged),
        is_attained: row.is_attained,
    });
    each.collect()
}

/// A percentage of requests that are judged, if there are any.
fn share(met: u64, judged: u64) -> String {
    if judged > 0 { percent(met, judged) } else { ABSENT.to_owned() }
}

fn tile(name: &str, value: String) -> Tile {
    Tile { name: name.to_owned(), value }
}
