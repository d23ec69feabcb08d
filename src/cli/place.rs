//! Where a line stands in the files of a command.

use std::fmt;

/// Where a line stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    pub(super) number: u64,
    /// Which of the files it is: the same one may be given twice.
    pub(super) index: usize,
    /// Which of the logs the file is a part of.
    pub(super) log: usize,
    /// Where the same line occurred before, if it did.
    pub(super) twin: Option<Twin<'a>>,
}

/// Where the same line occurred before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Twin<'a> {
    pub(super) file: &'a str,
    pub(super) number: u64,
    /// The same line is among the last lines of the same log. If a part of a log occurs again near itself,
    /// this holds for all its lines, and otherwise for none of them.
    pub(super) is_near: bool,
}

impl fmt::Display for Twin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.number)
    }
}
