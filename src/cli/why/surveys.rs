//! The first reading: a survey of each group.

use super::survey::Survey;
use crate::{
    Line,
    cli::{
        groups::{Group, Grouping, Groups},
        log_line::LogLine,
        stage_names::StageNames,
    },
};

/// The requests so far, by group.
pub(super) struct Surveys {
    grouping: Grouping,
    groups: Groups<Survey>,
    /// Whether the lines of requests that may be chosen are kept.
    keeps_lines: bool,
    names: StageNames,
}

/// The first reading, when it is over.
pub(super) struct Surveyed {
    /// The survey of each group, and remarks on the groups.
    pub(super) groups: Vec<Group<Survey>>,
    pub(super) remarks: Vec<String>,
    pub(super) names: StageNames,
}

impl Surveys {
    /// Surveys without requests. Those of many groups would keep too many lines, so only that of a single
    /// group does.
    pub(super) fn new(grouping: &Grouping, is_percentile: bool) -> Self {
        let keeps_lines = is_percentile && grouping.is_whole();
        let groups = Groups::new(grouping);
        Self { grouping: grouping.clone(), groups, keeps_lines, names: StageNames::default() }
    }

    pub(super) fn add(&mut self, line: &LogLine) {
        self.names.add(&line.line);
        match &line.line {
            Line::Request(request) => {
                for name in self.grouping.names(line) {
                    self.groups.at(request.timestamp, Some(name)).add(
                        request,
                        &line.log_name,
                        self.keeps_lines,
                    );
                }
            }
            Line::Stage(_) | Line::Transfer(_) | Line::Summary(_) | Line::Open(_) => {}
        }
    }

    pub(super) fn merge(&mut self, other: &mut Self) {
        self.groups.merge(&mut other.groups);
        self.names.merge(&other.names);
    }

    pub(super) fn into_groups(self) -> Surveyed {
        let Self { grouping, groups, names, .. } = self;
        let width = groups.width();
        let groups = groups.into_groups(&grouping);
        let remarks = grouping.remarks(width);
        Surveyed { groups, remarks, names }
    }
}
