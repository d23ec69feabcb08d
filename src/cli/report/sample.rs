//! The requests whose waterfalls the page shows: the slowest, and a random sample.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    hash::{DefaultHasher, Hash, Hasher},
};

use serde::Serialize;

use crate::{
    E2eTable, Millis, RequestLine, StageRow, TransferRow,
    cli::json::escaped,
    model::{
        numbers::{Number, Table, Unit},
        rows::Value,
    },
};

/// How many of the slowest requests are shown, and how many random ones.
const SLOWEST: usize = 400;
const RANDOM: usize = 600;
/// How many bytes of JSON all of them may have, and one of them.
const ROOM: usize = 3_500_000;
const ROOM_OF_ONE: usize = 20_000;
/// How many rows of a table are shown, and how long a text is.
const ROWS: usize = 64;
const TEXT: usize = 200;

/// The requests kept so far. The random ones are chosen by a hash, so that the same log gives the same page.
#[derive(Debug, Default)]
pub(super) struct Sample {
    slowest: BinaryHeap<Reverse<(Millis, u64, String)>>,
    random: BinaryHeap<(u64, Millis, String)>,
}

/// The sample as the page has it.
pub(super) struct Sampled {
    pub(super) json: String,
    pub(super) shown: usize,
    /// How many of them are the slowest of all.
    pub(super) slowest: usize,
}

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a str,
    ended: String,
    e2e: Millis,
    /// The numbers of `e2e_table`, in the order of [`columns`], as those of the rows are.
    numbers: Vec<Option<Figure<'a>>>,
    stages: Vec<Vec<Option<Figure<'a>>>>,
    transfers: Vec<Vec<Option<Figure<'a>>>>,
    /// Rows that are left out.
    more: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<&'a str>,
}

/// A value as the page has it.
#[derive(Serialize)]
#[serde(untagged)]
enum Figure<'a> {
    Count(u64),
    Time(Millis),
    Ratio(f64),
    Text(&'a str),
}

/// The numbers of a table: those that every row has come first, so that the others, which most rows lack, can
/// be left out at the end.
fn numbers<Row: Table>() -> impl Iterator<Item = &'static Number<Row>> {
    let is_in_every_row = |number: &&Number<Row>| number.presence == "always";
    let always = Row::NUMBERS.iter().filter(is_in_every_row);
    always.chain(Row::NUMBERS.iter().filter(move |number| !is_in_every_row(number)))
}

/// The values of a row, as many as are needed.
fn figures<Row: Table>(row: &Row) -> Vec<Option<Figure<'_>>> {
    let figure = |number: &Number<Row>| match (number.get)(row)? {
        Value::Count(count) => Some(Figure::Count(count)),
        Value::Time(time) => Some(Figure::Time(time)),
        Value::Ratio(ratio) => Some(Figure::Ratio(ratio)),
        Value::Text(text) => Some(Figure::Text(cut(text))),
    };
    let mut figures: Vec<_> = numbers::<Row>().map(figure).collect();
    let length = figures.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
    figures.truncate(length);
    figures
}

/// The name and the unit of each number, in the order of the values, for the script of the page.
#[derive(Serialize)]
pub(super) struct Columns {
    e2e: Vec<(&'static str, &'static str)>,
    stages: Vec<(&'static str, &'static str)>,
    transfers: Vec<(&'static str, &'static str)>,
}

pub(super) fn columns() -> Columns {
    fn of<Row: Table>() -> Vec<(&'static str, &'static str)> {
        numbers::<Row>().map(|number| (number.name, unit(number.about.unit))).collect()
    }
    Columns { e2e: of::<E2eTable>(), stages: of::<StageRow>(), transfers: of::<TransferRow>() }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Key => "key",
        Unit::Id | Unit::Count => "count",
        Unit::Bytes => "bytes",
        Unit::Milliseconds => "ms",
        Unit::Ratio => "ratio",
        Unit::Text => "text",
    }
}

impl Sample {
    pub(super) fn add(&mut self, line: &RequestLine) {
        let e2e = line.e2e_table.e2e_total_ms;
        let mut hasher = DefaultHasher::new();
        (&line.request_id, line.timestamp.unix_micros(), e2e.as_nanos()).hash(&mut hasher);
        let chance = hasher.finish();
        let is_slow = self.slowest.len() < SLOWEST
            || self.slowest.peek().is_some_and(|Reverse((fastest, _, _))| e2e > *fastest);
        let is_random =
            self.random.len() < RANDOM || self.random.peek().is_some_and(|(last, _, _)| chance < *last);
        if !is_slow && !is_random {
            return;
        }
        let json = to_json(line);
        if is_slow {
            self.slowest.push(Reverse((e2e, chance, json.clone())));
        }
        if is_random {
            self.random.push((chance, e2e, json));
        }
        self.trim();
    }

    pub(super) fn merge(&mut self, other: &mut Self) {
        self.slowest.append(&mut other.slowest);
        self.random.append(&mut other.random);
        self.trim();
    }

    fn trim(&mut self) {
        while self.slowest.len() > SLOWEST {
            self.slowest.pop();
        }
        while self.random.len() > RANDOM {
            self.random.pop();
        }
    }

    /// A list, slowest first.
    pub(super) fn into_json(self) -> Sampled {
        // Escaped only here, since most of the requests that are added are dropped later.
        let slowest = self.slowest.into_sorted_vec().into_iter();
        let slowest = slowest.map(|Reverse((e2e, chance, json))| (e2e, chance, escaped(json)));
        let random = self.random.into_sorted_vec().into_iter();
        let random = random.map(|(chance, e2e, json)| (e2e, chance, escaped(json)));
        let mut left = ROOM;
        let mut fits = |json: &String| {
            let room = left.checked_sub(json.len() + 2);
            left = room.unwrap_or(left);
            room.is_some()
        };
        let mut shown: BTreeSet<_> = slowest.filter(|(_, _, json)| fits(json)).collect();
        let slowest = shown.len();
        for request in random {
            if !shown.contains(&request) && fits(&request.2) {
                shown.insert(request);
            }
        }
        let list: Vec<_> = shown.iter().rev().map(|(_, _, json)| json.as_str()).collect();
        Sampled { json: format!("[{}]", list.join(",\n")), shown: list.len(), slowest }
    }
}

/// One request, as text that may stand within a `script` element.
fn to_json(line: &RequestLine) -> String {
    let whole = json(line, ROWS);
    let kept = if whole.len() > ROOM_OF_ONE { json(line, ROWS / 8) } else { whole };
    kept.replace('<', "\\u003c")
}

fn json(line: &RequestLine, rows: usize) -> String {
    let (stages, transfers) = (&line.stage_table, &line.transfer_table);
    let shown = Shown {
        id: cut(&line.request_id),
        ended: line.timestamp.to_string(),
        e2e: line.e2e_table.e2e_total_ms,
        numbers: figures(&line.e2e_table),
        stages: stages.iter().take(rows).map(figures).collect(),
        transfers: transfers.iter().take(rows).map(figures).collect(),
        more: stages.len().saturating_sub(rows) + transfers.len().saturating_sub(rows),
        warnings: line.warnings.iter().take(16).map(|warning| cut(warning)).collect(),
    };
    // Numbers and strings go into a `String` without an error.
    serde_json::to_string(&shown).unwrap_or_default()
}

fn cut(text: &str) -> &str {
    crate::model::value::prefix(text, TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::E2eTable;

    fn line(n: u64, text: &str) -> RequestLine {
        let e2e_table = E2eTable { e2e_total_ms: Millis::from_nanos(n * 1_000), ..E2eTable::default() };
        let row = StageRow { stage_name: Some(text.to_owned()), ..StageRow::default() };
        RequestLine {
            request_id: format!("r{n}"),
            e2e_table,
            stage_table: vec![row; 30],
            warnings: vec![text.to_owned(); 16],
            ..RequestLine::default()
        }
    }

    #[test]
    fn the_slowest_are_there_and_all_of_it_has_its_room() {
        let (mut one, mut other) = (Sample::default(), Sample::default());
        for n in 0..20_000 {
            let sample = if n % 2 == 0 { &mut one } else { &mut other };
            sample.add(&line(n, &"é</script>".repeat(40)));
        }
        one.merge(&mut other);
        let Sampled { json, shown, slowest } = one.into_json();
        assert!(json.len() <= ROOM && slowest == SLOWEST.min(shown) && shown > 100, "{} {shown}", json.len());
        assert!(!json.contains('<'));
        let requests: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert_eq!((requests.len(), &requests[0]["id"]), (shown, &"r19999".into()));
        assert_eq!(requests[99]["id"], "r19900");
    }

    /// The names that the script takes from a row.
    fn drawn(table: &str) -> Vec<&'static str> {
        let script = include_str!("script.js");
        let names = script.match_indices(table).filter_map(|(at, _)| {
            let name = &script[at + table.len()..];
            name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
        });
        names.collect()
    }

    #[test]
    fn the_script_draws_only_numbers_that_there_are() {
        let columns = columns();
        for (table, known) in
            [("e2e.", columns.e2e), ("stage.", columns.stages), ("transfer.", columns.transfers)]
        {
            let drawn = drawn(table);
            assert!(!drawn.is_empty(), "{table} {drawn:?}");
            for name in drawn {
                assert!(known.iter().any(|(number, _)| *number == name), "{table}{name}");
            }
        }
    }

    #[test]
    fn a_row_has_all_its_values_and_no_more() {
        let columns = columns().stages.len();
        let row: StageRow = crate::model::numbers::tests::full();
        let full = figures(&row);
        assert!(full.len() == columns && full.iter().all(Option::is_some));
        let always = StageRow::NUMBERS.iter().filter(|number| number.presence == "always").count();
        assert_eq!(figures(&StageRow::default()).len(), always);
    }

    #[test]
    fn few_requests_are_all_there_once() {
        let mut sample = Sample::default();
        (0..100).for_each(|n| sample.add(&line(n, "x")));
        let Sampled { json, shown, slowest } = sample.into_json();
        assert_eq!((shown, slowest, json.matches("\"id\":").count()), (100, 100, 100));
    }
}
