//! The limits of the objectives, as the charts and the waterfalls draw them.

use serde::Serialize;

use super::{axis::Axis, plot::Mark};
use crate::cli::{groups::shortened, objectives::Objectives, quantity::Stage};

/// The numbers that a waterfall draws as moments. All count from the creation of the request.
const MOMENTS: [&str; 4] = ["e2e_total_ms", "start_ms", "first_output_ms", "last_output_ms"];
/// How many percent of a chart's height a text needs on a phone.
const TEXT: f64 = 7.0;

/// The limit of a moment, for the waterfalls.
#[derive(Debug, Serialize)]
pub(super) struct Moment<'a> {
    key: &'static str,
    /// The id or the name of a stage; `None` for the end of the request.
    stage: Option<&'a Stage>,
    /// In milliseconds.
    limit: f64,
    text: String,
}

/// The moments that objectives limit.
pub(super) fn moments(objectives: &Objectives) -> Vec<Moment<'_>> {
    let of_stage_or_e2e = |stage: Option<&Stage>, key| stage.is_some() != (key == "e2e_total_ms");
    let moments = objectives.slo.iter().filter_map(|objective| {
        let (quantity, limit) = (objective.quantity(), objective.limit() / 1e6);
        let (key, stage) = (quantity.key(), quantity.stage());
        let is_drawn = MOMENTS.contains(&key) && of_stage_or_e2e(stage, key);
        is_drawn.then(|| Moment { key, stage, limit, text: shortened(&objective.to_string()).into_owned() })
    });
    moments.collect()
}

/// The limits of the end-to-end latency as marks of a chart with this axis.
pub(in crate::cli) fn marks(objectives: &Objectives, axis: Axis) -> Vec<Mark> {
    let of_e2e = moments(objectives).into_iter().filter(|moment| moment.stage.is_none());
    let mark = |moment: Moment<'_>| {
        let nanos = moment.limit * 1e6;
        let outside = match () {
            () if nanos > axis.high() => ", which is beyond this axis",
            () if nanos < axis.low() => ", which is below this axis",
            () => "",
        };
        Mark {
            at: axis.place(nanos) * 100.0,
            text: format!("objective {}{outside}", moment.text),
            class: if outside.is_empty() { "limit" } else { "limit outside" },
        }
    };
    let mut marks: Vec<_> = of_e2e.map(mark).collect();
    marks.sort_by(|one, other| one.at.total_cmp(&other.at));
    marks
}

/// The same where the texts stand above each other: a text that has no room is added to the one below it.
pub(super) fn spaced(marks: Vec<Mark>) -> Vec<Mark> {
    let mut spaced = Vec::<Mark>::new();
    let mut last = f64::NEG_INFINITY;
    for mut mark in marks {
        if mark.at - last < TEXT {
            let text = std::mem::take(&mut mark.text);
            if let Some(below) = spaced.iter_mut().rfind(|below| !below.text.is_empty()) {
                below.text = format!("{}, {text}", below.text);
            }
        } else {
            last = mark.at;
        }
        spaced.push(mark);
    }
    spaced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objectives(texts: &[&str]) -> Objectives {
        Objectives { slo: texts.iter().map(|text| text.parse().unwrap()).collect() }
    }

    #[test]
    fn only_moments_of_a_request_and_of_its_stages_are_drawn() {
        let names = [
            "e2e=2s",
            "first_output@0=200ms",
            "gen@0=1s",
            "start@talker=1ms",
            "tx@0->1=1ms",
            "start@0->1=1ms",
        ];
        let json = serde_json::to_value(moments(&objectives(&names))).unwrap();
        let expected = serde_json::json!([
            {"key": "e2e_total_ms", "stage": null, "limit": 2000.0, "text": "e2e=2s"},
            {"key": "first_output_ms", "stage": 0, "limit": 200.0, "text": "first_output@0=200ms"},
            {"key": "start_ms", "stage": "talker", "limit": 1.0, "text": "start@talker=1ms"},
        ]);
        assert_eq!(json, expected);
    }

    #[test]
    fn limits_stand_on_the_axis_and_texts_do_not_cover_each_other() {
        let axis = Axis::log(1e7, 1e9);
        let names = ["e2e=2s", "e2e=100ms", "first_output@0=50ms", "e2e=101ms@99%", "e2e=1ms"];
        let found = spaced(marks(&objectives(&names), axis));
        let found: Vec<_> = found.iter().map(|mark| (mark.at.round(), &*mark.text, mark.class)).collect();
        let expected = [
            (0.0, "objective e2e=1ms, which is below this axis", "limit outside"),
            (50.0, "objective e2e=100ms, objective e2e=101ms@99%", "limit"),
            (50.0, "", "limit"),
            (100.0, "objective e2e=2s, which is beyond this axis", "limit outside"),
        ];
        assert_eq!(found, expected);
    }
}
