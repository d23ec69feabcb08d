//! The numbers that are compared, and their names.

use std::fmt;

use crate::{
    E2eTable, RequestLine, StageRow, TransferRow,
    cli::quantity::short,
    model::{
        id::{OrderedId, unordered},
        numbers::{Number, Table, Unit},
        rows::Value,
    },
    write::columns::id,
};

/// What a number belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Request,
    Stage(OrderedId),
    Edge((OrderedId, OrderedId)),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request => Ok(()),
            Self::Stage(stage) => write!(f, "@{}", id(unordered(*stage))),
            Self::Edge((from, to)) => write!(f, "@{}->{}", id(unordered(*from)), id(unordered(*to))),
        }
    }
}

/// The names and units of the numbers that are compared, in the order in which [`each_row`] has them.
pub(super) fn numbers(place: Place) -> Vec<(String, Unit)> {
    fn named<Row: Table>(place: Place) -> Vec<(String, Unit)> {
        let name = |number: &Number<Row>| format!("{}{place}", short(number.name));
        compared::<Row>().map(|number| (name(number), number.about.unit)).collect()
    }
    match place {
        Place::Request => named::<E2eTable>(place),
        Place::Stage(_) => named::<StageRow>(place),
        Place::Edge(_) => named::<TransferRow>(place),
    }
}

/// Hands each row of a request to `take`: where it belongs, and its numbers, each with its place among
/// [`numbers`].
pub(super) fn each_row(
    line: &RequestLine,
    mut take: impl FnMut(Place, &mut dyn Iterator<Item = (usize, u64)>),
) {
    fn values<Row: Table>(row: &Row) -> impl Iterator<Item = (usize, u64)> {
        let values = compared::<Row>().enumerate();
        values.filter_map(|(at, number)| Some((at, whole((number.get)(row)?)?)))
    }
    take(Place::Request, &mut values(&line.e2e_table));
    line.stage_table.iter().for_each(|row| take(Place::Stage(row.order()), &mut values(row)));
    line.transfer_table.iter().for_each(|row| take(Place::Edge(row.order()), &mut values(row)));
}

/// The numbers with a distribution, and further times of the request as a whole.
fn compared<Row: Table>() -> impl Iterator<Item = &'static Number<Row>> {
    let is_request = Row::NUMBERS.first().is_some_and(|number| number.about.unit != Unit::Key);
    Row::NUMBERS.iter().filter(move |number| {
        number.about.has_percentiles || is_request && number.about.unit == Unit::Milliseconds
    })
}

/// A value as a whole number: nanoseconds, or millionths of a ratio.
fn whole(value: Value<'_>) -> Option<u64> {
    match value {
        Value::Count(count) => Some(count),
        Value::Time(time) => Some(time.as_nanos()),
        Value::Ratio(ratio) => Some((ratio * 1e6).round() as u64),
        Value::Text(_) => None,
    }
}

/// What one step of [`whole`] is, in the unit in which a number is shown.
pub(super) fn step(unit: Unit) -> f64 {
    match unit {
        Unit::Milliseconds | Unit::Ratio => 1e-6,
        _ => 1.0,
    }
}
