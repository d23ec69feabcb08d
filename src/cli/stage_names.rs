//! What the stages of a log are called.

use std::{borrow::Cow, collections::BTreeMap};

use super::parts::shown;
use crate::{
    Line, StageRow, Timestamp,
    model::{
        id::{OrderedId, unordered},
        value::prefix,
    },
    write::columns::id,
};

/// How many stages have a name here; as many as there are walls.
const LIMIT: usize = 1_024;
/// How much of a name is shown, in bytes.
const SHOWN: usize = 20;

/// The last name of each stage.
#[derive(Debug, Default, Clone)]
pub(super) struct StageNames(BTreeMap<OrderedId, (Timestamp, String)>);

impl StageNames {
    pub(super) fn add(&mut self, line: &Line) {
        match line {
            Line::Request(line) => {
                line.stage_table.iter().for_each(|row| self.add_row(line.timestamp, row));
            }
            Line::Stage(line) => self.add_row(line.timestamp, &line.row),
            Line::Transfer(_) | Line::Summary(_) | Line::Open(_) => {}
        }
    }

    fn add_row(&mut self, timestamp: Timestamp, row: &StageRow) {
        let Some(name) = &row.stage_name else { return };
        let has_room = self.0.len() < LIMIT;
        match self.0.get_mut(&row.order()) {
            Some((last, _)) if *last > timestamp => {}
            Some((last, known)) => {
                *last = timestamp;
                if known != name {
                    known.clone_from(name);
                }
            }
            None if has_room => {
                self.0.insert(row.order(), (timestamp, name.clone()));
            }
            None => {}
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (stage, named) in &other.0 {
            let has_room = self.0.len() < LIMIT;
            match self.0.get_mut(stage) {
                Some(known) if *known < *named => known.clone_from(named),
                None if has_room => {
                    self.0.insert(*stage, named.clone());
                }
                _ => {}
            }
        }
    }

    /// `stage 2 code2wav`, or `stage 2` if the stage has no name.
    pub(super) fn of(&self, stage: OrderedId) -> String {
        let number = id(unordered(stage));
        match self.0.get(&stage) {
            Some((_, name)) => format!("stage {number} {}", shortened(name)),
            None => format!("stage {number}"),
        }
    }

    /// The whole name.
    pub(super) fn name(&self, stage: OrderedId) -> Option<&str> {
        self.0.get(&stage).map(|(_, name)| name.as_str())
    }

    /// The stages with this name.
    pub(super) fn called(&self, name: &str) -> impl Iterator<Item = OrderedId> {
        self.0.iter().filter(move |(_, (_, known))| known == name).map(|(stage, _)| *stage)
    }

    /// A part of a request's time as people read it, with the name of its stage.
    pub(super) fn of_part(&self, part: &str) -> String {
        self.in_part(part).map_or_else(|| shown(part).to_owned(), |(stage, _)| self.of(stage))
    }

    /// The whole name of the stage that a part of a request's time is of.
    pub(super) fn name_in_part(&self, part: &str) -> Option<&str> {
        self.in_part(part).map(|(_, name)| name)
    }

    fn in_part(&self, part: &str) -> Option<(OrderedId, &str)> {
        let stage = part.strip_prefix("stage ")?;
        let (id, (_, name)) = self.0.iter().find(|(known, _)| stage == id(unordered(**known)))?;
        Some((*id, name))
    }
}

/// As much of a name as is shown.
pub(super) fn shortened(name: &str) -> Cow<'_, str> {
    if name.len() > SHOWN { format!("{}…", prefix(name, SHOWN)).into() } else { name.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RequestLine;

    fn line(second: u64, names: &[Option<&str>]) -> Line {
        let row = |(at, name): (usize, &Option<&str>)| StageRow {
            stage_id: Some(at as u64),
            stage_name: name.map(str::to_owned),
            ..StageRow::default()
        };
        let stage_table = names.iter().enumerate().map(row).collect();
        let timestamp = Timestamp::from_unix_micros(second * 1_000_000);
        Line::Request(RequestLine { timestamp, stage_table, ..RequestLine::default() })
    }

    #[test]
    fn the_last_name_stands_on_whichever_core_it_was_read() {
        let (mut one, mut other) = (StageNames::default(), StageNames::default());
        one.add(&line(1, &[Some("first"), None, Some("a name of more than twenty bytes")]));
        one.add(&line(5, &[Some("last"), None]));
        other.add(&line(3, &[Some("second"), None]));
        one.merge(&other);
        let parts = ["stage 0", "stage 1", "stage 2", "queue"].map(|part| one.of_part(part));
        assert_eq!(parts, ["stage 0 last", "stage 1", "stage 2 a name of more than …", "before any stage"]);
        other.merge(&one);
        assert_eq!(other.of_part("stage 0"), "stage 0 last");
    }
}
