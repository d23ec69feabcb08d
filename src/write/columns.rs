//! A text table under construction, and the texts of its cells.

use std::{borrow::Cow, fmt, ops::RangeInclusive};

use comfy_table::{CellAlignment, presets::ASCII_MARKDOWN};
#[cfg(feature = "cli")]
use comfy_table::{ColumnConstraint, Width};

use crate::{FieldValue, Millis};

/// The text of an absent value.
pub(crate) const ABSENT: &str = "-";

/// A table under construction: a column of names, then one or more of values.
pub(crate) struct Columns(comfy_table::Table);

/// One value of a table.
pub(crate) enum Cell<'a> {
    Absent,
    Count(u64),
    Time(Millis),
    Decimal(f64),
    Other(&'a FieldValue),
    Text(&'a str),
}

impl Columns {
    pub(super) fn new(heads: impl Iterator<Item = String>) -> Self {
        Self::of(std::iter::once("Field".to_owned()).chain(heads))
    }

    fn of(heads: impl Iterator<Item = String>) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(ASCII_MARKDOWN);
        table.set_header(heads.map(|head| printable(&head).into_owned()));
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        Self(table)
    }

    /// Adds a row, unless all its values are zero or absent.
    pub(crate) fn row<'a>(&mut self, name: &str, cells: impl Iterator<Item = Cell<'a>>) {
        let cells: Vec<_> = cells.collect();
        if cells.iter().any(Cell::says_something) {
            self.0.add_row(
                std::iter::once(printable(name).into_owned()).chain(cells.iter().map(Cell::to_text)),
            );
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Options that only the tables of the reader need.
#[cfg(feature = "cli")]
impl Columns {
    /// Sets the head of the column of names.
    pub(crate) fn named<const N: usize>(name: &str, heads: [&str; N]) -> Self {
        Self::of(std::iter::once(name).chain(heads).map(str::to_owned))
    }

    /// Sets the heads of all columns.
    pub(crate) fn titled(name: &str, heads: impl Iterator<Item = String>) -> Self {
        Self::of(std::iter::once(name.to_owned()).chain(heads))
    }

    /// How many characters wide it is.
    pub(crate) fn width(&self) -> usize {
        self.to_string().lines().next().map_or(0, |line| line.chars().count())
    }

    /// The table in lines of at most `width` characters: with less space between its columns or, if that does
    /// not suffice, in several tables, which all have the column of names. What is wider than a line is
    /// wrapped.
    pub(crate) fn fitted(&self, width: usize) -> String {
        let widths = self.0.column_max_content_widths();
        let mut widths: Vec<_> = widths.into_iter().map(usize::from).collect();
        let with_space = |space: usize| 1 + widths.iter().map(|width| width + 1 + space).sum::<usize>();
        if with_space(2) <= width {
            return self.to_string();
        }
        let mut table = self.0.clone();
        if with_space(1) <= width {
            table.column_iter_mut().for_each(|column| _ = column.set_padding((1, 0)));
            return table.to_string();
        }
        let mut most = width * 7 / 10;
        for (column, width_of) in table.column_iter_mut().zip(&mut widths) {
            if *width_of > most {
                *width_of = most;
                let with_padding = u16::try_from(most + 2).unwrap_or(u16::MAX);
                column.set_constraint(ColumnConstraint::Absolute(Width::Fixed(with_padding)));
            }
            if column.index == 0 {
                // What the names, three borders and the spaces beside them leave for values.
                most = width.saturating_sub(*width_of + 3 + 2 * 2);
            }
        }
        let mut tables = Vec::new();
        let mut begin = 1;
        while begin < widths.len() {
            let mut filled = 0;
            let fitting = widths.iter().skip(begin).take_while(|width| {
                filled += *width + 3;
                filled <= most + 3
            });
            let shown = begin..begin + fitting.count().max(1);
            let mut part = table.clone();
            let hidden = part.column_iter_mut().skip(1).filter(|column| !shown.contains(&column.index));
            hidden.for_each(|column| _ = column.set_constraint(ColumnConstraint::Hidden));
            tables.push(part.to_string());
            begin = shown.end;
        }
        tables.join("\n\n")
    }

    /// Aligns a column to the left.
    pub(crate) fn left(&mut self, column: usize) {
        if let Some(column) = self.0.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Left);
        }
    }
}

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Cell<'_> {
    fn says_something(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Count(count) => *count > 0,
            Self::Time(time) => *time > Millis::ZERO,
            Self::Decimal(number) => *number != 0.0,
            Self::Other(FieldValue::Unsigned(0)) => false,
            Self::Other(FieldValue::Float(number)) => *number != 0.0,
            Self::Other(_) | Self::Text(_) => true,
        }
    }

    fn to_text(&self) -> String {
        match self {
            Self::Absent => ABSENT.to_owned(),
            Self::Count(count) => grouped(&count.to_string()),
            Self::Time(time) => grouped(&rounded(*time)),
            Self::Decimal(number) => grouped(&format!("{number:.3}")),
            Self::Other(FieldValue::Unsigned(number)) => grouped(&number.to_string()),
            Self::Other(FieldValue::Signed(number)) => grouped(&number.to_string()),
            Self::Other(FieldValue::Float(number)) => grouped(&format!("{number:.3}")),
            Self::Other(FieldValue::Text(text)) => printable(text).into_owned(),
            Self::Other(other) => printable(&other.to_string()).into_owned(),
            Self::Text(text) => printable(text).into_owned(),
        }
    }
}

/// Milliseconds with three decimals, rounded from the whole nanoseconds.
fn rounded(time: Millis) -> String {
    let micros = time.as_nanos() / 1_000 + u64::from(time.as_nanos() % 1_000 >= 500);
    format!("{}.{:03}", micros / 1_000, micros % 1_000)
}

/// A decimal number with a comma between thousands.
pub(crate) fn grouped(decimal: &str) -> String {
    let (sign, digits) = decimal.strip_prefix('-').map_or(("", decimal), |digits| ("-", digits));
    let (whole, fraction) =
        digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len()));
    let mut text = sign.to_owned();
    for (at, digit) in whole.char_indices() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

/// Escapes all characters that a terminal could interpret as a command, that could reorder or split a line on
/// a screen, or that can't be seen.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let escape = |c: char| if is_hidden(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(escape).collect())
}

/// Whether a character can't be seen, or may change how its neighbours look: names that differ in it would
/// look the same. These are all that the standard library escapes in texts, and the marks and letters that
/// are invisible as well.
pub(crate) fn is_hidden(c: char) -> bool {
    const BLANK_OR_VARIATION: [RangeInclusive<char>; 9] = [
        '\u{34f}'..='\u{34f}',
        '\u{115f}'..='\u{1160}',
        '\u{17b4}'..='\u{17b5}',
        '\u{180b}'..='\u{180f}',
        '\u{2800}'..='\u{2800}',
        '\u{3164}'..='\u{3164}',
        '\u{fe00}'..='\u{fe0f}',
        '\u{ffa0}'..='\u{ffa0}',
        '\u{e0100}'..='\u{e01ef}',
    ];
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    // Behind another character, a mark is not escaped.
    let is_escaped = || String::from_iter(['a', c]).escape_debug().nth(2).is_some();
    BLANK_OR_VARIATION.iter().any(|range| range.contains(&c)) || !c.is_alphanumeric() && is_escaped()
}

/// The text of an id in a head or a name.
pub(crate) fn id(id: Option<u64>) -> String {
    id.map_or_else(|| ABSENT.to_owned(), |id| id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        for (decimal, text) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("41299.190", "41,299.190"),
            ("-1234567", "-1,234,567"),
            ("1e300", "1e300"),
        ] {
            assert_eq!(grouped(decimal), text);
        }
    }

    #[cfg(feature = "cli")]
    #[test]
    fn a_table_that_is_too_wide_has_less_space_or_parts_and_every_cell() {
        let table = |name: &str, columns: usize| {
            let cells: Vec<_> = (0..columns).map(|at| 10_u64.pow(9) + at as u64).collect();
            let mut table = Columns::titled("Field", (0..columns).map(|at| format!("head {at}")));
            table.row(name, cells.iter().map(|count| Cell::Count(*count)));
            table.row("second", cells.iter().map(|_| Cell::Text("x")));
            table
        };
        let long = "a_name_of_half_a_line_and_more ".repeat(4);
        for (name, columns, heads) in
            [("name", 5, 1), ("name", 6, 1), ("name", 7, 2), (long.trim(), 7, 7), (&"n".repeat(300), 1, 1)]
        {
            let fitted = table(name, columns).fitted(100);
            assert!(fitted.lines().all(|line| line.chars().count() <= 100), "{fitted}");
            assert_eq!(fitted.matches("| Field").count(), heads, "{fitted}");
            let has = |at: &usize| fitted.contains(&format!(" 1,000,000,00{at}"));
            assert!((0..columns).all(|at| has(&at) && fitted.contains(&format!("head {at}"))), "{fitted}");
        }
        let [whole, tight] = [5, 6].map(|columns| table("name", columns).fitted(100));
        assert!(whole.contains("| name   | 1,") && tight.contains("| name  | 1,000,000,000|"), "{tight}");
        let mut wide = table("name", 1);
        wide.row("third", [Cell::Text(&"v".repeat(300))].into_iter());
        assert!(wide.fitted(100).lines().all(|line| line.chars().count() <= 100));
    }

    #[test]
    fn times_are_rounded_to_the_microsecond() {
        for (nanos, text) in [(0, "0.000"), (499, "0.000"), (500, "0.001"), (41_299_189_999, "41299.190")] {
            assert_eq!(rounded(Millis::from_nanos(nanos)), text);
        }
        assert_eq!(rounded(Millis::MAX), "18446744073709.552");
    }
}
