//! The file that is being read.

use std::sync::Arc;

use super::{
    amount::amount,
    files::{called, shown},
    history::History,
    line_counts::LineCounts,
    log_file::LogFile,
    wrapped::Begun,
};
use crate::SCHEMA;

/// The file that is being read, and the state that is kept from the files before it.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) name: String,
    pub(super) log: usize,
    pub(super) log_name: Arc<str>,
    is_found: bool,
    /// The names of all files so far.
    pub(super) names: Vec<String>,
    pub(super) history: History,
    /// Lines of which a container runtime has written a part.
    pub(super) begun: Begun,
    /// How many lines the file has so far.
    pub(super) length: u64,
    /// The counts before its first line.
    before: LineCounts,
    /// The number of its first line of an unknown schema, and that schema.
    pub(super) first_unknown: Option<(u64, u32)>,
}

impl Reading {
    /// Begins another file, before which this was read.
    pub(super) fn begin(&mut self, file: &LogFile, before: LineCounts) {
        self.name = shown(&file.path);
        self.names.push(self.name.clone());
        (self.log, self.log_name, self.is_found) = (file.log, Arc::clone(&file.log_name), file.is_found);
        (self.before, self.length, self.first_unknown) = (before, 0, None);
        self.begun.go_on();
    }

    /// Why none of the file's lines, or not all of them, can be used; `read` counts the lines so far. Before
    /// the first file, the name is empty.
    pub(super) fn unusable(&self, read: LineCounts) -> Option<String> {
        let Self { name, before, first_unknown, length, .. } = self;
        let name = called(name);
        if let Some((line, schema)) = first_unknown {
            let unknown = read.unknown - before.unknown;
            let unknown = amount(unknown, "line of an unknown schema", "lines of an unknown schema");
            return Some(format!(
                "{name}: cannot read {unknown} (line {line} has schema {schema}; this reader knows schema \
                 {SCHEMA})"
            ));
        }
        let broken = read.broken - before.broken;
        let has_lines = read.of_layer() > before.of_layer();
        if name.is_empty() || has_lines || self.is_found && broken == 0 {
            return None;
        }
        Some(match (*length, broken) {
            (0, _) => format!("{name} is empty"),
            (_, 0) => {
                format!(
                    "{name} has no line of omni-metrics ({})",
                    amount(*length, "foreign line", "foreign lines")
                )
            }
            _ => {
                let broken = amount(broken, "broken line", "broken lines");
                format!("{name} has no whole line of omni-metrics ({broken})")
            }
        })
    }
}
