//! What lines are grouped by: one key, or several.

use std::{collections::BTreeSet, fmt};

use super::{Name, key::Key};
use crate::{
    Line, StageRow,
    cli::{log_line::LogLine, origins::each},
};

/// The keys that lines are grouped by. Lines with the same value of each are one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) struct By(Vec<Key>);

impl By {
    /// Keys with commas between them.
    pub(in crate::cli) fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Vec::new();
        for name in text.split(',') {
            let key = Key::parse(name.trim())?;
            if keys.contains(&key) {
                return Err(format!("{key} is named twice"));
            }
            keys.push(key);
        }
        Ok(Self(keys))
    }

    /// The names of the keys.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }

    pub(super) fn is_of_several(&self) -> bool {
        self.0.len() > 1
    }

    /// Whether a request has a group for each of its stages.
    pub(in crate::cli) fn is_of_stages(&self) -> bool {
        self.0.iter().any(Key::is_of_stages)
    }

    /// The name of the group of a line, or of this row of it.
    pub(in crate::cli) fn name(&self, line: &LogLine, row: Option<&StageRow>) -> Name {
        match self.0.as_slice() {
            [key] => key.value(line, row),
            keys => Name::Several(keys.iter().map(|key| key.value(line, row)).collect()),
        }
    }

    /// The groups that a line belongs to: one, or those of the stages of a request.
    pub(in crate::cli) fn of_line(&self, line: &LogLine) -> Vec<Name> {
        let names: BTreeSet<_> = match &line.line {
            Line::Request(request) if self.is_of_stages() => {
                request.stage_table.iter().map(|row| self.name(line, Some(row))).collect()
            }
            Line::Stage(detached) => BTreeSet::from([self.name(line, Some(&detached.row))]),
            _ => BTreeSet::new(),
        };
        if names.is_empty() { vec![self.name(line, None)] } else { names.into_iter().collect() }
    }

    /// What a group is whose rows come from several logs, if one of these is.
    pub(in crate::cli) fn on_several_logs<'a>(
        &self,
        mut names: impl Iterator<Item = &'a Name>,
    ) -> Option<String> {
        let at = self.0.iter().position(|key| *key == Key::File)?;
        let logs = names.find_map(|name| match name.parts().get(at)? {
            Name::Text(logs) if each(logs).count() > 1 => Some(logs),
            _ => None,
        })?;
        Some(format!(
            "file: {logs} is no log of its own. The spans of such a row are in each of these logs, as of a \
             request that was sent to a stage again and served by another process; they are one row."
        ))
    }

    /// The fields that no request had, a sentence each.
    pub(in crate::cli) fn missing(&self) -> impl Iterator<Item = String> {
        self.0.iter().filter_map(Key::missing)
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names().collect::<Vec<_>>().join(", "))
    }
}
