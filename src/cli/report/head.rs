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
    cli::{amount::amount, attainment::Attainment, summary::LogSummary},
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
    absent: String,
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

/// The first lines: when the run was, and how its requests ended.
pub(super) fn facts(extent: (u64, u64), endings: &Endings) -> Vec<Tile> {
    let (begin, end) = extent;
    let duration = Millis::from_nanos((end - begin).saturating_mul(1_000));
    let share = |ending| percent(endings.of(ending), endings.all());
    let mut facts = vec![
        tile("start", moment(begin)),
        tile("end", moment(end)),
        tile("duration", shown(duration)),
        tile(
            "error share",
            format!("{} ({} failed)", share(Ending::Failed), count(endings.of(Ending::Failed))),
        ),
    ];
    let aborted = endings.of(Ending::Aborted);
    facts.extend(
        (aborted > 0).then(|| tile("aborted", format!("{} ({})", share(Ending::Aborted), count(aborted)))),
    );
    facts
}

pub(super) fn tiles(
    summary: &LogSummary,
    requests: u64,
    marks: &[(&'static str, Millis)],
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
    tiles.extend(summary.objectives.iter().flat_map(|objectives| {
        let goodput = objectives.goodput_requests_per_s.map_or_else(|| "–".to_owned(), decimal);
        let met = share(objectives.met, objectives.judged);
        [tile("met objectives", met), tile("goodput a second", goodput)]
    }));
    let share = |is_it: fn(&Part) -> bool| {
        let time: u128 = whole.parts().iter().filter(|(part, _)| is_it(part)).map(|(_, time)| time).sum();
        (time > 0).then(|| format!("{:.1} %", time as f64 / whole.total().max(1) as f64 * 100.0))
    };
    tiles.extend(share(|part| matches!(part, Part::Waiting(_))).map(|share| tile("waiting", share)));
    tiles.extend(share(|part| *part == Part::Unattributed).map(|share| tile("unattributed", share)));
    tiles
}

pub(super) fn objectives(attainment: &Attainment) -> Vec<Objective> {
    let each = attainment.each.iter().map(|row| Objective {
        text: row.objective.clone(),
        met: count(row.met),
        broke: count(row.broke),
        absent: count(row.absent),
        share: share(row.met, row.judged),
        is_attained: row.is_attained,
    });
    each.collect()
}

/// A percentage of requests that are judged, if there are any.
fn share(met: u64, judged: u64) -> String {
    if judged > 0 { percent(met, judged) } else { "–".to_owned() }
}

fn tile(name: &str, value: String) -> Tile {
    Tile { name: name.to_owned(), value }
}
