//! Colours. Everything goes through [`anstream`], which takes them out again unless the output is a
//! terminal that wants them.

use std::fmt::{self, Display};

use anstyle::{AnsiColor, Color, Style};

const TITLE: Style = Style::new().bold();
const RULE: Style = Style::new().dimmed();

/// Something good.
pub(super) fn good(text: impl Display) -> impl Display {
    paint(colour(AnsiColor::Green), text)
}

/// Something bad.
pub(super) fn bad(text: impl Display) -> impl Display {
    paint(colour(AnsiColor::Red), text)
}

/// Text tables: titles and heads in bold, bars in the colour of what they stand for.
pub(super) fn tables(text: &str) -> String {
    let mut painted = String::with_capacity(text.len() * 2);
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let is_rule = |line: &str| line.starts_with("|-");
        let is_title = !line.starts_with('|') || lines.peek().is_some_and(|next| is_rule(next));
        let (cells, bar) = split_bar(line);
        painted.push_str(&match (is_rule(line), is_title, bar) {
            _ if line.is_empty() => String::new(),
            (true, ..) => paint(RULE, line).to_string(),
            (_, true, _) => paint(TITLE, line).to_string(),
            (.., "") => line.to_owned(),
            (.., bar) => format!("{cells}{}", paint(colour_of(cells), bar)),
        });
        painted.push('\n');
    }
    painted
}

/// The bar at the end of a row, if it has one.
fn split_bar(line: &str) -> (&str, &str) {
    let row = line.trim_end_matches([' ', '|', '#']);
    match line.get(row.len()..).and_then(|rest| rest.find('#')) {
        Some(at) if row.ends_with('%') => line.split_at(row.len() + at),
        _ => (line, ""),
    }
}

fn colour_of(row: &str) -> Style {
    let part = row.trim_start_matches(['|', ' ']);
    colour(match part {
        _ if part.starts_with("queue") => AnsiColor::Magenta,
        _ if part.starts_with("transfers") => AnsiColor::Yellow,
        _ if part.starts_with("unattributed") => AnsiColor::Red,
        _ => AnsiColor::Cyan,
    })
}

const fn colour(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(Color::Ansi(colour)))
}

fn paint(style: Style, text: impl Display) -> impl Display {
    Painted(style, text)
}

struct Painted<T>(Style, T);

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(style, text) = self;
        write!(f, "{style}{text}{style:#}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_change_nothing_but_the_colours() {
        let text = "Title\n| head | a |\n|------|---|\n| queue  | 5.0 % | ## |\n| a#b  | 5.0 % |  |\n\n";
        let painted = tables(text);
        assert_eq!(anstream::adapter::strip_str(&painted).to_string(), text);
        assert!(painted.contains("\u{1b}[35m## |") && painted.contains("| a#b  | 5.0 % |  |\n"), "{painted}");
    }
}
