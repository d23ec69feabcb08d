//! The lines of the files in turn.

use std::{io::Write, mem};

use super::{
    finding::{Finding, Form, located, say},
    found::{Found, RequestNumber},
    groups::Checked,
    holes::Holes,
    kinds::Kinds,
    log_ends::{InRun, LogEnds},
    lone_rows::{LoneNote, LoneRows},
    restarts::Restarts,
    run_times::RunTimes,
    stage_walls::StageWalls,
    whole_run::WholeRun,
};
use crate::{
    cli::{
        amount::amount,
        failure::Result,
        invariants::Remarks,
        losses::Losses,
        numbers::{Findings, Numbers},
        place::Place,
        sample_check::{SampleCheck, Verified},
    },
    write::columns::printable,
};

/// How many lines that occur twice are named; more are counted.
const DOUBLES: u64 = 20;

/// The files in turn, and the findings so far.
#[derive(Default)]
pub(super) struct Log {
    /// Its number, that of its log, and its name.
    file: Option<(usize, usize, String)>,
    numbers: Numbers,
    losses: Losses,
    whole_run: WholeRun,
    stage_walls: StageWalls,
    run_times: RunTimes,
    sample: SampleCheck,
    restarts: Restarts,
    lone_rows: LoneRows,
    log_ends: LogEnds,
    holes: Holes,
    pub(super) violations: u64,
    /// Violations of lines.
    of_lines: Kinds,
    /// Notes on lines.
    pub(super) notes: Kinds,
    doubles: u64,
    /// Lines that processes have counted as lost.
    pub(super) lost: u64,
    form: Form,
    /// Whether no line is left out. Of a selection, numbers are missing.
    pub(super) is_whole: bool,
}

impl Log {
    pub(super) fn new(form: Form, is_whole: bool) -> Self {
        Self { form, is_whole, ..Self::default() }
    }

    /// Adds a line. Returns what was found at this line.
    pub(super) fn add(&mut self, place: Place<'_>, found: Found, out: &mut impl Write) -> Result<Checked> {
        self.enter(place, out)?;
        let Remarks { violations: mut sentences, mut notes } = found.remarks;
        if self.is_whole {
            let is_ending =
                matches!(&found.number, Some(RequestNumber::Summary(ending)) if !ending.is_report);
            let request = InRun::of(&found.witness);
            self.log_ends.add(place, &found.name, is_ending, found.timestamp, request);
        }
        if let Some(twin) = place.twin {
            self.doubles += 1;
            if self.doubles <= DOUBLES {
                let name = &found.name;
                sentences.push(format!("{name}: expected once, found the same line as {twin}"));
            }
        }
        // A log that was copied is judged by itself, as is a part of a log that occurs again far from itself:
        // only some of its lines would be recognised as copies, and the rest would have gaps.
        if self.is_whole && place.twin.is_none_or(|twin| !twin.is_near) {
            match found.number {
                Some(RequestNumber::Request(number)) => self.numbers.add(number),
                Some(RequestNumber::Summary(ending)) => self.numbers.end(ending),
                None => {}
            }
            sentences.extend(self.whole_run.add(&found.witness));
            sentences.extend(self.stage_walls.add(&found.witness));
            self.run_times.add(place, &found.witness);
            if place.twin.is_none() {
                self.holes.add(place, &found.work, found.timestamp);
                self.lone_rows.add(place, &found.name, &found.witness, &found.work, found.timestamp);
                if let Some(RequestNumber::Summary(ending)) = found.number {
                    self.losses.add(place.number, ending.lost);
                }
            }
            sentences.extend(self.sample.add(place, found.witness));
            if let Some(RequestNumber::Request(number)) = found.number
                && let Some(runs) = self.sample.runs_in_turn()
            {
                notes.extend(self.restarts.add(number, found.timestamp, runs));
            }
        }
        notes.iter().try_for_each(|note| self.note(place, note, None, out))?;
        self.write(place, &sentences, out)?;
        Ok(Checked { lines: 1, violations: sentences.len() as u64, notes: notes.len() as u64 })
    }

    /// Ends the last log. `at_least` is what precedes a count of lines that occur twice.
    pub(super) fn finish(&mut self, at_least: &str, out: &mut impl Write) -> Result<()> {
        self.finish_runs(out)?;
        let (lone_rows, log_ends) = (mem::take(&mut self.lone_rows), mem::take(&mut self.log_ends));
        let holes = mem::take(&mut self.holes);
        for (place, note) in log_ends.finish().into_iter().chain(holes.finish()) {
            self.note(place, &note, None, out)?;
        }
        for LoneNote { place, text, requests, named } in lone_rows.finish() {
            self.note(place, &text, Some(requests), out)?;
            if self.form != Form::Text {
                say(self.form, out, named.into_iter())?;
            }
        }
        if self.form == Form::Text {
            self.of_lines
                .more("more violation", "more violations")
                .chain(self.notes.more("more note", "more notes"))
                .try_for_each(|more| writeln!(out, "{more}"))?;
        }
        let more = self.doubles.saturating_sub(DOUBLES);
        self.violations += more;
        if more > 0 && self.form == Form::Text {
            let more = amount(more, "more line occurs twice", "more lines occur twice");
            writeln!(out, "{at_least}{more}")?;
        }
        Ok(())
    }

    /// Begins another file. The runs of a log go on in its next file; another log has runs of its own.
    fn enter(&mut self, place: Place<'_>, out: &mut impl Write) -> Result<()> {
        let Place { index, log, .. } = place;
        if self.file.as_ref().is_some_and(|(last, ..)| *last == index) {
            return Ok(());
        }
        if self.file.as_ref().is_some_and(|(_, last, _)| *last != log) {
            self.finish_runs(out)?;
        }
        self.file = Some((index, log, place.file.to_owned()));
        Ok(())
    }

    fn write(&mut self, place: Place<'_>, sentences: &[String], out: &mut impl Write) -> Result<()> {
        self.violations += sentences.len() as u64;
        if self.form != Form::Text {
            let (file, line) = (place.file, Some(place.number));
            return say(self.form, out, sentences.iter().map(|text| Finding::Violation { file, line, text }));
        }
        let mut named = sentences.iter().filter(|sentence| self.of_lines.add(sentence));
        Ok(named.try_for_each(|sentence| writeln!(out, "{place}: {}", printable(sentence)))?)
    }

    /// Only text leaves out notes. `requests` is how many it is about, if their ids follow.
    fn note(
        &mut self,
        place: Place<'_>,
        note: &str,
        requests: Option<u64>,
        out: &mut impl Write,
    ) -> Result<()> {
        let is_named = self.notes.add(note);
        if self.form != Form::Text {
            let (file, line) = (place.file, Some(place.number));
            return say(self.form, out, [Finding::Note { file, line, text: note, requests }].into_iter());
        }
        if is_named {
            writeln!(out, "{place}: note: {}", printable(note))?;
        }
        Ok(())
    }

    fn finish_runs(&mut self, out: &mut impl Write) -> Result<()> {
        let Some((.., file)) = self.file.take() else { return Ok(()) };
        self.whole_run = WholeRun::default();
        self.stage_walls = StageWalls::default();
        self.restarts = Restarts::default();
        let by_number = mem::take(&mut self.numbers);
        self.lost += mem::take(&mut self.losses).all();
        // Most numbers are missing in a sampled log, which has more to show instead.
        let (findings, verified) = match mem::take(&mut self.sample).finish(&file) {
            Some((findings, verified)) => (findings, Some(verified)),
            None => (by_number.finish(&file), None),
        };
        let Findings { mut violations, mut more, notes } = findings;
        let (jumps, more_jumps) = mem::take(&mut self.run_times).finish();
        violations.extend(jumps);
        more += more_jumps;
        self.violations += violations.len() as u64 + more;
        if self.form != Form::Text {
            let name = file.as_str();
            say(
                self.form,
                out,
                violations.iter().map(|sentence| {
                    let (line, text) = located(sentence, name);
                    Finding::Violation { file: name, line, text }
                }),
            )?;
            let notes = notes.iter().map(|sentence| {
                let (line, text) = located(sentence, name);
                Finding::Note { file: name, line, text, requests: None }
            });
            say(self.form, out, notes)?;
            let sample = |verified: Verified| Finding::Sample {
                file: name,
                one_in: verified.one_in,
                verified_up_to: verified.number(),
                text: verified.to_string(),
            };
            return say(self.form, out, verified.into_iter().map(sample));
        }
        let mut sentences = violations.iter().chain(&notes);
        sentences.try_for_each(|sentence| writeln!(out, "{}", printable(sentence)))?;
        if more > 0 {
            writeln!(out, "{file}: {}", amount(more, "more violation", "more violations"))?;
        }
        if let Some(verified) = verified {
            writeln!(out, "{}: {verified}", printable(&file))?;
        }
        Ok(())
    }
}
