//! A chart as markup: marks in a picture that stretches, and texts that do not.
//!
//! It is drawn here, and not by a chart crate, because none of them carries it. Colours must come from the
//! style sheet (dark, printed and forced palettes), and texts must keep their size when a chart shrinks to
//! the width of a phone. `plotters`, `kuva`, `charts-rs` and `plotlib` write colours and font sizes into
//! every element, and place texts in pixels of one width. `poloto` has classes, but no logarithmic axis.
//! `charming` draws in ECharts, which takes a megabyte of script or V8. A point costs 95 bytes with
//! `plotters`, 58 with `kuva`, 24 with `poloto`, and 11 here.

use std::fmt::Write;

use serde::Serialize;

use super::axis::{Axis, Tick};

/// The size of the picture, in units of its own.
const WIDTH: f64 = 2000.0;
const HEIGHT: f64 = 1000.0;

/// A chart.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Plot {
    /// By which the script finds it.
    pub(in crate::cli) id: &'static str,
    pub(in crate::cli) title: String,
    /// What it shows, for those who do not see it.
    pub(in crate::cli) label: String,
    pub(in crate::cli) layers: Vec<Layer>,
    pub(in crate::cli) areas: Vec<Area>,
    /// Lines from the bottom to the top.
    pub(in crate::cli) marks: Vec<Mark>,
    /// Lines from the left to the right.
    pub(in crate::cli) limits: Vec<Mark>,
    x: Vec<Tick>,
    y: Vec<Tick>,
    grid: String,
}

/// Marks of one class, and what they are for the legend.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Layer {
    pub(in crate::cli) class: String,
    pub(in crate::cli) path: String,
    pub(in crate::cli) name: String,
}

/// What is between two lines of steps.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Area {
    class: String,
    pub(in crate::cli) name: String,
    pub(in crate::cli) polygon: String,
    /// The upper one of the two lines.
    edge: String,
}

/// A line across a chart, with a text.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Mark {
    /// In percent of the axis.
    pub(in crate::cli) at: f64,
    pub(in crate::cli) text: String,
    pub(in crate::cli) class: &'static str,
}

impl Plot {
    pub(in crate::cli) fn new(
        id: &'static str,
        title: String,
        label: String,
        x: Vec<Tick>,
        y: Vec<Tick>,
    ) -> Self {
        let mut grid = String::new();
        for tick in &x {
            let _ = write!(grid, "M{:.0} 0V{HEIGHT}", tick.at / 100.0 * WIDTH);
        }
        for tick in &y {
            let _ = write!(grid, "M0 {:.0}H{WIDTH}", (1.0 - tick.at / 100.0) * HEIGHT);
        }
        let (layers, areas, marks, limits) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { id, title, label, layers, areas, marks, limits, x, y, grid }
    }

    /// Adds the area between two lines of steps.
    pub(in crate::cli) fn area(
        &mut self,
        class: String,
        name: String,
        field: &Field,
        steps: &[(Range, Range)],
    ) {
        let mut edge = Path::default();
        edge.steps(field, steps.iter().map(|(time, (_, high))| (*time, Some(*high))));
        self.areas.push(Area { class, name, polygon: Path::between(field, steps), edge: edge.0 });
    }

    /// Adds marks, if there are any.
    pub(in crate::cli) fn layer(&mut self, class: &str, name: &str, path: Path) {
        if !path.is_empty() {
            self.layers.push(Layer { class: class.to_owned(), path: path.0, name: name.to_owned() });
        }
    }
}

/// From a value to another.
type Range = (f64, f64);

/// The places of a chart.
#[derive(Debug, Clone, Copy)]
pub(in crate::cli) struct Field {
    pub(in crate::cli) x: Axis,
    pub(in crate::cli) y: Axis,
}

impl Field {
    fn x(&self, value: f64) -> f64 {
        (self.x.place(value) * WIDTH).round()
    }

    fn y(&self, value: f64) -> f64 {
        ((1.0 - self.y.place(value)) * HEIGHT).round()
    }
}

/// The marks of one class.
#[derive(Debug, Default)]
pub(in crate::cli) struct Path(String);

impl Path {
    pub(in crate::cli) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A point: a line without a length, whose round or square ends are drawn.
    pub(in crate::cli) fn dot(&mut self, field: &Field, x: f64, y: f64) {
        let _ = write!(self.0, "M{} {}h0", field.x(x), field.y(y));
    }

    pub(in crate::cli) fn rectangle(&mut self, field: &Field, x: Range, y: Range) {
        let (left, right, bottom, top) = (field.x(x.0), field.x(x.1), field.y(y.0), field.y(y.1));
        if bottom > top {
            let _ = write!(self.0, "M{left} {bottom}V{top}H{right}V{bottom}z");
        }
    }

    /// A line of steps, interrupted where there is no value.
    pub(in crate::cli) fn steps(&mut self, field: &Field, steps: impl Iterator<Item = (Range, Option<f64>)>) {
        let mut is_down = false;
        for ((from, to), value) in steps {
            if let Some(value) = value {
                let (from, to, y) = (field.x(from), field.x(to), field.y(value));
                let _ = match is_down {
                    true => write!(self.0, "V{y}H{to}"),
                    false => write!(self.0, "M{from} {y}H{to}"),
                };
            }
            is_down = value.is_some();
        }
    }

    /// The area between two lines of steps, as a polygon of a style.
    fn between(field: &Field, steps: &[(Range, Range)]) -> String {
        let at = |x: f64, y: f64| {
            format!("{:.2}% {:.2}%", field.x.place(x) * 100.0, (1.0 - field.y.place(y)) * 100.0)
        };
        let upper = steps.iter().flat_map(|((from, to), (_, high))| [at(*from, *high), at(*to, *high)]);
        let lower = steps.iter().rev().flat_map(|((from, to), (low, _))| [at(*to, *low), at(*from, *low)]);
        upper.chain(lower).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field() -> Field {
        Field { x: Axis::linear(0.0, 10.0), y: Axis::linear(0.0, 4.0) }
    }

    #[test]
    fn marks_stand_where_their_values_are() {
        let mut dots = Path::default();
        dots.dot(&field(), 5.0, 1.0);
        dots.dot(&field(), 99.0, 9.0);
        assert_eq!(dots.0, "M1000 750h0M2000 0h0", "what is outside stands at the edge");
        let mut columns = Path::default();
        columns.rectangle(&field(), (0.0, 1.0), (0.0, 2.0));
        columns.rectangle(&field(), (1.0, 2.0), (0.0, 0.0));
        assert_eq!(columns.0, "M0 1000V500H200V1000z", "none where there is nothing");
        let mut line = Path::default();
        let values = [Some(1.0), Some(2.0), None, Some(4.0)];
        let steps = (0..).map(f64::from).zip(values).map(|(at, value)| ((at, at + 1.0), value));
        line.steps(&field(), steps);
        assert_eq!(line.0, "M0 750H200V500H400M600 0H800");
        let area = Path::between(&field(), &[((0.0, 5.0), (0.0, 2.0)), ((5.0, 10.0), (1.0, 3.0))]);
        let corners = "0.00% 50.00%,50.00% 50.00%,50.00% 25.00%,100.00% 25.00%,\
                       100.00% 75.00%,50.00% 75.00%,50.00% 100.00%,0.00% 100.00%";
        assert_eq!(area, corners);
    }
}
