//! The end of a command's help, and of its manual page: examples, exit codes and the environment.

use std::{fmt::Write as _, io};

use clap::Command;
use clap_mangen::{
    Man,
    roff::{Inline, Roff, bold, roman},
};

/// How wide the text is, in columns.
const WIDTH: usize = 90;

/// The exit codes that mean the same for every command.
const SUCCESS: &str = "Success. Broken lines are skipped, and named on stderr.";
const UNUSABLE: &str = "An argument is wrong, a file can't be read or written, no file has a usable line of \
                        omni-metrics, or lines have a schema that this version does not know. stderr says \
                        which.";

/// The variables that every command reads.
const COLOURS: [(&str, &str); 2] = [
    ("NO_COLOR", "If it is set and not empty, the output has no colours."),
    ("CLICOLOR_FORCE", "If it is set and not 0, the output has colours even if it is not a terminal."),
];

/// What the help of a command says after its options.
#[derive(Debug)]
pub(super) struct Help {
    /// What an example shows, and its command line, which begins with `omni-metrics`.
    pub(super) examples: &'static [(&'static str, &'static str)],
    /// What options mean together, if that is not plain.
    pub(super) note: Option<&'static str>,
    /// What exit code 0 means, if not just success.
    pub(super) zero: Option<&'static str>,
    /// What exit code 1 means, if the command has it.
    pub(super) one: Option<&'static str>,
    /// What exit code 2 means besides, if anything: a sentence that begins with *Or*.
    pub(super) two: Option<&'static str>,
    /// Variables that this command reads in addition to those for colours, and what they do.
    pub(super) environment: &'static [(&'static str, &'static str)],
}

impl Help {
    /// A help without examples, exit codes and variables of its own.
    pub(super) const NONE: Self =
        Self { examples: &[], note: None, zero: None, one: None, two: None, environment: &[] };

    /// Adds this to the help of a command. `-h` has the examples only.
    pub(super) fn add_to(&self, command: Command) -> Command {
        let examples = self.examples();
        let short = format!("{examples}Notes, exit codes and variables of the environment: --help");
        command.after_help(short).after_long_help(examples + &self.rest())
    }

    /// Writes the manual page of a command that has been built.
    pub(super) fn render_manual(&self, command: Command, out: &mut impl io::Write) -> io::Result<()> {
        // The page has these sections in the form of a manual page.
        let man = Man::new(command.after_help(None::<&str>).after_long_help(None::<&str>));
        man.render(out)?;
        let mut roff = Roff::new();
        if !self.examples.is_empty() {
            roff.control("SH", ["EXAMPLES"]);
        }
        for (shows, line) in self.examples {
            roff.control("PP", []).text([roman(*shows)]);
            roff.control("RS", ["4"]).control("nf", []).text([bold(*line)]).control("fi", []);
            roff.control("RE", []);
        }
        if let Some(note) = self.note {
            roff.control("SH", ["NOTES"]).text([roman(note)]);
        }
        roff.control("SH", ["EXIT STATUS"]);
        for (code, meaning) in self.exit_codes() {
            tagged(&mut roff, bold(code), &meaning);
        }
        roff.control("SH", ["ENVIRONMENT"]);
        for (name, meaning) in self.variables() {
            tagged(&mut roff, bold(name), meaning);
        }
        roff.to_writer(out)
    }

    fn examples(&self) -> String {
        let mut text = String::new();
        if !self.examples.is_empty() {
            text.push_str("Examples:\n");
        }
        for (shows, line) in self.examples {
            // A failure to write to a `String` is not possible.
            let _ = write!(text, "  # {shows}\n  {line}\n\n");
        }
        text
    }

    fn rest(&self) -> String {
        let mut text = String::new();
        if let Some(note) = self.note {
            section(&mut text, "Notes", [("", note)].into_iter());
            text.push('\n');
        }
        section(&mut text, "Exit codes", self.exit_codes());
        text.push('\n');
        section(&mut text, "Environment", self.variables());
        text
    }

    fn exit_codes(&self) -> impl Iterator<Item = (&'static str, String)> {
        let two = [UNUSABLE].into_iter().chain(self.two).collect::<Vec<_>>().join(" ");
        let [zero, one] = [Some(self.zero.unwrap_or(SUCCESS)), self.one].map(|one| one.map(str::to_owned));
        [("0", zero), ("1", one), ("2", Some(two))]
            .into_iter()
            .filter_map(|(code, meaning)| Some((code, meaning?)))
    }

    fn variables(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        COLOURS.iter().chain(self.environment).copied()
    }
}

/// A paragraph with a term before it.
fn tagged(roff: &mut Roff, term: Inline, meaning: &str) {
    roff.control("TP", []).text([term]).text([roman(meaning)]);
}

/// A list of terms and their meanings, which begin in one column.
fn section<'a, T: AsRef<str>>(text: &mut String, title: &str, entries: impl Iterator<Item = (&'a str, T)>) {
    let entries: Vec<_> = entries.collect();
    let indent = entries.iter().map(|(term, _)| term.len()).max().unwrap_or_default() + 4;
    let _ = writeln!(text, "{title}:");
    for (term, meaning) in entries {
        let mut line = format!("{:indent$}", format!("  {term}"));
        for word in meaning.as_ref().split(' ') {
            if line.len() + word.len() > WIDTH {
                let _ = writeln!(text, "{}", line.trim_end());
                line = " ".repeat(indent);
            }
            line.push_str(word);
            line.push(' ');
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}
