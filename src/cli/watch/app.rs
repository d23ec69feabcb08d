//! The view: a log, what the keys have chosen of it, and what is on the screen.

use std::sync::Arc;

use ratatui::Frame;

use super::{
    controls::Controls,
    figures::Figures,
    follow::Read,
    keys::Key,
    log::{Log, MICROS},
    period::Period,
    row::Row,
    view,
};

pub(super) struct App {
    log: Log,
    /// The log as it was at the moment at which the view was paused.
    paused: Option<(Box<Log>, u64)>,
    controls: Controls,
    shown: Option<Shown>,
}

/// What is on the screen.
struct Shown {
    figures: Figures,
    rows: Vec<Arc<Row>>,
    since: u64,
}

impl App {
    pub(super) fn new(log: Log, period: Period) -> Self {
        Self { log, paused: None, controls: Controls::new(period), shown: None }
    }

    pub(super) fn source(&self) -> &str {
        &self.log.source
    }

    /// Adds a line, also while the view is paused.
    pub(super) fn add(&mut self, read: Read, now: u64) {
        self.log.add(read, now);
    }

    pub(super) fn end(&mut self) {
        if !self.log.has_ended {
            self.log.has_ended = true;
            self.shown = None;
        }
    }

    /// Does what a key says. `false` if it ends the view.
    pub(super) fn press(&mut self, key: Key, now: u64) -> bool {
        let rows = self.shown.as_ref().map_or(&[][..], |shown| &shown.rows);
        let goes_on = self.controls.press(key, rows, &self.log.source);
        match (self.controls.is_paused, &self.paused) {
            (true, None) => self.paused = Some((Box::new(self.log.clone()), now)),
            (false, Some(_)) => self.paused = None,
            _ => {}
        }
        self.shown = None;
        goes_on
    }

    /// Draws the screen. The figures are computed once a second, and after each key.
    pub(super) fn draw(&mut self, frame: &mut Frame<'_>, now: u64) {
        let is_fresh = |shown: &Shown| (shown.since..shown.since.saturating_add(MICROS)).contains(&now);
        let shown = match self.shown.take().filter(is_fresh) {
            Some(shown) => shown,
            None => {
                let (log, moment) = match &self.paused {
                    Some((log, moment)) => (&**log, *moment),
                    None => (&self.log, now),
                };
                let figures = Figures::of(log, self.controls.period, moment);
                let rows = self.controls.arrange(&figures.rows);
                Shown { figures, rows, since: now }
            }
        };
        view::draw(frame, &shown.figures, &self.controls, &shown.rows);
        self.shown = Some(shown);
    }
}
