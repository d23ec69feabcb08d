//! What the keys have chosen: which requests are shown in which order, and whether one of them is open.

use std::{cmp::Reverse, sync::Arc};

use super::{
    keys::Key,
    period::Period,
    row::{Identity, Row},
};

/// What the list of requests is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Order {
    #[default]
    Time,
    PartTime,
    Ended,
    Id,
}

impl Order {
    const fn next(self) -> Self {
        match self {
            Self::Time => Self::PartTime,
            Self::PartTime => Self::Ended,
            Self::Ended => Self::Id,
            Self::Id => Self::Time,
        }
    }

    /// The longest, the latest and the least id come first; open requests are later than all that have ended.
    fn sort(self, rows: &mut [Arc<Row>]) {
        // Rows that are equal keep this order.
        rows.sort_by(|row, other| (&row.id, row.ended).cmp(&(&other.id, other.ended)));
        match self {
            Self::Time => rows.sort_by_key(|row| Reverse(row.time)),
            Self::PartTime => rows.sort_by_key(|row| Reverse(row.part_time)),
            Self::Ended => rows.sort_by_key(|row| Reverse(row.ended.unwrap_or(u64::MAX))),
            Self::Id => {}
        }
    }
}

/// What is on the screen.
#[derive(Debug)]
pub(super) enum Screen {
    List,
    Help,
    Request(Opened),
}

/// A request that is open on the screen. It stays there when it leaves the period.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) lines: Vec<String>,
    /// How many lines and columns are scrolled past.
    pub(super) down: usize,
    pub(super) right: usize,
}

/// How far the left and right keys scroll, in columns.
const COLUMNS: usize = 8;
/// How far a page scrolls, in lines.
const PAGE: usize = 10;

#[derive(Debug)]
pub(super) struct Controls {
    pub(super) period: Period,
    pub(super) is_paused: bool,
    pub(super) order: Order,
    pub(super) only_failed: bool,
    /// The tables have the room of the chart and the list.
    pub(super) only_tables: bool,
    /// The table of groups, if there are any, has the room of that of times.
    pub(super) shows_groups: bool,
    pub(super) screen: Screen,
    /// `None` before a row has been selected: then it is the first one, whichever that is.
    selected: Option<Identity>,
    pub(super) cursor: usize,
}

impl Controls {
    pub(super) fn new(period: Period) -> Self {
        Self {
            period,
            is_paused: false,
            order: Order::default(),
            only_failed: false,
            only_tables: false,
            shows_groups: true,
            screen: Screen::List,
            selected: None,
            cursor: 0,
        }
    }

    /// The rows to show, in order. The selected one is looked for; if it is gone, its place is selected.
    pub(super) fn arrange(&mut self, rows: &[Arc<Row>]) -> Vec<Arc<Row>> {
        let is_shown = |row: &&Arc<Row>| !self.only_failed || row.has_failed;
        let mut rows: Vec<_> = rows.iter().filter(is_shown).cloned().collect();
        self.order.sort(&mut rows);
        let found =
            self.selected.as_ref().map(|selected| rows.iter().position(|row| row.identity() == *selected));
        self.cursor = match found {
            None => 0,
            Some(Some(at)) => at,
            Some(None) => self.cursor.min(rows.len().saturating_sub(1)),
        };
        rows
    }

    /// Does what a key says. `false` if it ends the view.
    pub(super) fn press(&mut self, key: Key, rows: &[Arc<Row>], source: &str) -> bool {
        match key {
            Key::Char('q') | Key::Interrupt => return false,
            Key::Char(' ') => self.is_paused = !self.is_paused,
            Key::Char('+' | '=') => self.period = self.period.longer(),
            Key::Char('-') => self.period = self.period.shorter(),
            key => match &mut self.screen {
                Screen::Help => self.screen = Screen::List,
                Screen::Request(opened) => {
                    if !opened.press(key) {
                        self.screen = Screen::List;
                    }
                }
                Screen::List => self.press_in_list(key, rows, source),
            },
        }
        true
    }

    fn press_in_list(&mut self, key: Key, rows: &[Arc<Row>], source: &str) {
        match key {
            Key::Char('?' | 'h') => self.screen = Screen::Help,
            Key::Char('s') => self.order = self.order.next(),
            Key::Char('t') => self.only_tables = !self.only_tables,
            Key::Char('g') => self.shows_groups = !self.shows_groups,
            Key::Char('f') => self.only_failed = !self.only_failed,
            Key::Down | Key::Char('j') => self.select(self.cursor + 1, rows),
            Key::Up | Key::Char('k') => self.select(self.cursor.saturating_sub(1), rows),
            Key::PageDown => self.select(self.cursor + PAGE, rows),
            Key::PageUp => self.select(self.cursor.saturating_sub(PAGE), rows),
            // From here on, the first row is selected, whichever it is.
            Key::Home | Key::Escape => (self.cursor, self.selected) = (0, None),
            Key::Enter => {
                if let Some(row) = rows.get(self.cursor) {
                    self.screen = Screen::Request(Opened { lines: row.details(source), down: 0, right: 0 });
                }
            }
            _ => {}
        }
    }

    fn select(&mut self, at: usize, rows: &[Arc<Row>]) {
        self.cursor = at.min(rows.len().saturating_sub(1));
        self.selected = rows.get(self.cursor).map(|row| row.identity());
    }
}

impl Opened {
    /// Scrolls. `false` if the key closes the request.
    fn press(&mut self, key: Key) -> bool {
        let last = self.lines.len().saturating_sub(1);
        let widest = self.lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
        match key {
            Key::Escape | Key::Enter => return false,
            Key::Down | Key::Char('j') => self.down += 1,
            Key::Up | Key::Char('k') => self.down = self.down.saturating_sub(1),
            Key::PageDown => self.down += PAGE,
            Key::PageUp => self.down = self.down.saturating_sub(PAGE),
            Key::Right | Key::Char('l') => self.right += COLUMNS,
            Key::Left | Key::Char('h') => self.right = self.right.saturating_sub(COLUMNS),
            Key::Home | Key::Char('g') => (self.down, self.right) = (0, 0),
            _ => {}
        }
        (self.down, self.right) = (self.down.min(last), self.right.min(widest.saturating_sub(1)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{E2eTable, Millis, RequestLine};

    fn row(id: &str, millis: u64, ended: u64, reason: &str) -> Arc<Row> {
        let e2e_total_ms = Millis::from_nanos(millis * 1_000_000);
        let finish_reason = Some(reason.to_owned());
        // The queue is the dominating part.
        let queue_time_ms = Some(Millis::from_nanos(1_000 - millis));
        let e2e_table = E2eTable { e2e_total_ms, finish_reason, queue_time_ms, ..E2eTable::default() };
        let line = RequestLine { request_id: id.to_owned(), e2e_table, ..RequestLine::default() };
        Arc::new(Row::of_request(&line, 100, ended))
    }

    /// Presses keys one after the other, with the rows arranged before each.
    fn press(controls: &mut Controls, keys: &str, rows: &[Arc<Row>]) -> String {
        for key in keys.chars() {
            let key = match key {
                '\n' => Key::Enter,
                '\x1b' => Key::Escape,
                key => Key::Char(key),
            };
            let arranged = controls.arrange(rows);
            assert!(controls.press(key, &arranged, "log"));
        }
        let arranged = controls.arrange(rows);
        let ids: Vec<_> = arranged.iter().map(|row| row.id.as_str()).collect();
        format!("{} {}", ids.join(""), controls.cursor)
    }

    #[test]
    fn keys_choose_the_order_the_failed_ones_and_a_row() {
        let rows = [row("a", 5, 20, "stop"), row("b", 9, 10, "error"), row("c", 7, 30, "stop")];
        let mut controls = Controls::new(Period::default());
        for (keys, shown) in [
            ("", "bca 0"),
            // The selected row stays selected in another order.
            ("jj", "bca 2"),
            ("s", "acb 0"),
            ("s", "cab 1"),
            ("s", "abc 0"),
            ("s", "bca 2"),
            ("j", "bca 2"),
            ("k", "bca 1"),
            // Of the failed ones only, its place is selected.
            ("f", "b 0"),
            ("f", "bca 1"),
            ("\x1b", "bca 0"),
        ] {
            assert_eq!(press(&mut controls, keys, &rows), shown, "{keys:?}");
        }
        let other = [row("z", 99, 40, "stop"), Arc::clone(&rows[0]), Arc::clone(&rows[1])];
        assert_eq!(press(&mut controls, "", &other), "zba 0");
        assert_eq!(press(&mut controls, "jj", &other), "zba 2");
        assert_eq!(press(&mut controls, "", &rows), "bca 2");
        assert_eq!(press(&mut controls, "", &[]), " 0");
    }

    #[test]
    fn a_request_opens_scrolls_and_closes_and_stays_open_when_it_leaves_the_period() {
        let rows = [row("a", 5, 20, "stop")];
        let mut controls = Controls::new(Period::default());
        press(&mut controls, "\njjl", &rows);
        press(&mut controls, "", &[]);
        let Screen::Request(opened) = &controls.screen else { panic!("{controls:?}") };
        assert!(opened.lines[0].starts_with("a took 5.000 ms and ended at"), "{opened:?}");
        assert_eq!((opened.down, opened.right), (2, COLUMNS));
        press(&mut controls, "khhh", &rows);
        let Screen::Request(opened) = &controls.screen else { panic!("{controls:?}") };
        assert_eq!((opened.down, opened.right), (1, 0));
        press(&mut controls, &"j".repeat(500), &rows);
        let Screen::Request(opened) = &controls.screen else { panic!("{controls:?}") };
        assert_eq!(opened.down, opened.lines.len() - 1);
        press(&mut controls, "\x1b", &rows);
        assert!(matches!(controls.screen, Screen::List));
        press(&mut controls, "\n", &[]);
        assert!(matches!(controls.screen, Screen::List), "there is nothing to open");
    }

    #[test]
    fn some_keys_work_on_every_screen() {
        let rows = [row("a", 5, 20, "stop")];
        for before in ["", "?", "\n"] {
            let mut controls = Controls::new(Period::default());
            press(&mut controls, before, &rows);
            press(&mut controls, " +", &rows);
            assert_eq!((controls.is_paused, controls.period), (true, Period::Last(300)));
            press(&mut controls, " --", &rows);
            assert_eq!((controls.is_paused, controls.period), (false, Period::Last(30)));
            assert!(!controls.press(Key::Char('q'), &rows, "log"), "{before:?}");
            assert!(!controls.press(Key::Interrupt, &rows, "log"), "{before:?}");
        }
        let mut controls = Controls::new(Period::default());
        press(&mut controls, "?", &rows);
        assert!(matches!(controls.screen, Screen::Help));
        press(&mut controls, "\x1b", &rows);
        assert!(matches!(controls.screen, Screen::List));
    }
}
