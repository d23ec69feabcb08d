//! A line as slices of a trace.

use serde_json::{
    Map, Value as Json,
    value::{RawValue, to_raw_value},
};

use crate::{
    Fields, Line, RequestLine, StageRow, Timestamp,
    cli::{
        groups::Name,
        timeline::{Edge, Part, Timeline},
    },
    model::{
        id::OrderedId,
        numbers::{Number, Table},
        rows::Value,
    },
};

/// What a slice is shown with. The order is that of the processes in a viewer: along the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Track {
    Requests,
    /// For a transfer, its sending part stands for all of its parts.
    Of(Part),
    /// What has no process of its own, because there are too many.
    Others,
}

impl Track {
    fn transfers(edge: Edge) -> Self {
        Self::Of(Part::Sending(edge))
    }

    fn stage(stage: OrderedId) -> Self {
        Self::Of(Part::Stage(stage))
    }
}

/// Slices that belong together: a request, or a detached row.
#[derive(Debug, Default)]
pub(super) struct Slices {
    /// When the first of them begins, in nanoseconds since the Unix epoch.
    pub(super) begin: u64,
    /// The group that they belong to, if there are several.
    pub(super) name: Option<Name>,
    /// Slices of one group follow each other, and share a lane.
    pub(super) groups: Vec<Group>,
    /// Names of stages.
    pub(super) names: Vec<(OrderedId, String)>,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) track: Track,
    pub(super) slices: Vec<Slice>,
}

#[derive(Debug)]
pub(super) struct Slice {
    pub(super) name: String,
    /// In nanoseconds since the Unix epoch.
    pub(super) from: u64,
    pub(super) to: u64,
    /// As text: many lines are held back, and maps take ten times the memory.
    pub(super) arguments: Box<RawValue>,
}

impl Slices {
    /// The slices of a line; none for one that is not about a request.
    pub(super) fn of(line: &Line) -> Option<Self> {
        match line {
            Line::Request(line) => Self::of_request(line),
            Line::Stage(line) => {
                let row = &line.row;
                let arguments = arguments(row, line.request_id.as_deref(), &row.fields);
                let arguments = to_raw_value(&arguments).ok()?;
                let (from, to) = extent(line.timestamp, row.wall_time_ms?.as_nanos());
                let name = line.request_id.clone().unwrap_or_default();
                let group = Group {
                    track: Track::stage(row.order()),
                    slices: vec![Slice { name, from, to, arguments }],
                };
                let names = name_of(row).into_iter().collect();
                Some(Self { begin: from, groups: vec![group], names, ..Self::default() })
            }
            Line::Transfer(line) => {
                let row = &line.row;
                let arguments = arguments(row, line.request_id.as_deref(), &row.fields);
                let arguments = to_raw_value(&arguments).ok()?;
                let (from, to) = extent(line.timestamp, row.wall_time_ms?.as_nanos());
                let name = if row.rx_decode_time_ms.is_some() { "rx" } else { "tx" }.to_owned();
                let group = Group {
                    track: Track::transfers(row.order()),
                    slices: vec![Slice { name, from, to, arguments }],
                };
                Some(Self { begin: from, groups: vec![group], ..Self::default() })
            }
            Line::Summary(_) | Line::Open(_) => None,
        }
    }

    fn of_request(line: &RequestLine) -> Option<Self> {
        let Timeline { end, rows, waits, .. } = Timeline::of(line);
        let (begin, to) = extent(line.timestamp, end);
        let id = &line.request_id;
        let mut request = arguments(&line.e2e_table, None, &line.fields);
        let mut note = |key: &str, value: Json| request.insert(key.to_owned(), value);
        line.sample_rate.map(|rate| note("sample_rate", rate.into()));
        line.trace_id.as_ref().map(|trace_id| note("trace_id", trace_id.clone().into()));
        (!line.warnings.is_empty()).then(|| note("warnings", line.warnings.clone().into()));
        let whole = Slice { name: id.clone(), from: begin, to, arguments: to_raw_value(&request).ok()? };
        let mut groups = vec![Group { track: Track::Requests, slices: vec![whole] }];
        for interval in waits.into_iter().chain(rows) {
            let (track, name) = match interval.part {
                Part::Waiting(_) | Part::Stage(_) => (Track::Of(interval.part), id.as_str()),
                Part::Sending(edge) => (Track::transfers(edge), "tx"),
                Part::InFlight(edge) => (Track::transfers(edge), "in flight"),
                Part::Receiving(edge) => (Track::transfers(edge), "rx"),
                Part::Queue | Part::Unattributed => continue,
            };
            let stage = line.stage_table.iter().find(|row| track == Track::stage(row.order()));
            let edge = line.transfer_table.iter().find(|row| track == Track::transfers(row.order()));
            let arguments = match (stage, edge) {
                (Some(row), _) => arguments(row, Some(id), &row.fields),
                (None, Some(row)) => arguments(row, Some(id), &row.fields),
                (None, None) => named(Some(id)),
            };
            let [from, to] = [interval.from, interval.to].map(|time| begin.saturating_add(time));
            let arguments = to_raw_value(&arguments).ok()?;
            let slice = Slice { name: name.to_owned(), from, to, arguments };
            match groups.last_mut() {
                Some(group) if group.track == track && matches!(track, Track::Of(Part::Sending(_))) => {
                    group.slices.push(slice);
                }
                _ => groups.push(Group { track, slices: vec![slice] }),
            }
        }
        let names = line.stage_table.iter().filter_map(name_of).collect();
        Some(Self { begin, groups, names, ..Self::default() })
    }

    /// The transfers, each with the stages that it connects: the places of three groups.
    pub(super) fn flows(&self) -> impl Iterator<Item = [usize; 3]> {
        let stage = |stage| self.groups.iter().position(move |group| group.track == Track::stage(stage));
        self.groups.iter().enumerate().filter_map(move |(at, group)| match group.track {
            Track::Of(Part::Sending((from, to))) => Some([stage(from)?, at, stage(to)?]),
            _ => None,
        })
    }
}

impl Group {
    pub(super) fn from(&self) -> u64 {
        self.slices.first().map_or(0, |slice| slice.from)
    }

    pub(super) fn to(&self) -> u64 {
        self.slices.last().map_or(0, |slice| slice.to)
    }
}

/// The beginning and the end of a time that ended at a timestamp.
fn extent(end: Timestamp, length: u64) -> (u64, u64) {
    let end = end.unix_micros().saturating_mul(1_000);
    (end.saturating_sub(length), end)
}

fn name_of(row: &StageRow) -> Option<(OrderedId, String)> {
    Some((row.order(), row.stage_name.clone()?))
}

fn named(request_id: Option<&str>) -> Map<String, Json> {
    request_id.map(|id| ("request_id".to_owned(), id.into())).into_iter().collect()
}

/// The numbers of a row that has them, with the id of its request and its further fields.
fn arguments<Row: Table>(row: &Row, request_id: Option<&str>, fields: &Fields) -> Map<String, Json> {
    let mut arguments = named(request_id);
    for Number { name, get, .. } in Row::NUMBERS {
        let value = match get(row) {
            Some(Value::Count(count)) => count.into(),
            Some(Value::Time(time)) => time.as_f64().into(),
            Some(Value::Ratio(ratio)) => ratio.into(),
            Some(Value::Text(text)) => text.into(),
            None => continue,
        };
        arguments.insert((*name).to_owned(), value);
    }
    if let Ok(Json::Object(fields)) = serde_json::to_value(fields)
        && !fields.is_empty()
    {
        arguments.insert("fields".to_owned(), fields.into());
    }
    arguments
}
