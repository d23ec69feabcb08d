//! A trace in the JSON format of Chrome's viewer, which Perfetto reads too.
//!
//! The format: <https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU>.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BinaryHeap},
    io::{self, Write},
    mem,
};

use serde::Serialize;
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use super::{
    exported::Written,
    lanes::Lanes,
    trace::{Group, Slice, Slices, Track},
};
use crate::{
    Timestamp,
    cli::{
        failure::Result,
        groups::{By, Name},
        input::Inputs,
        json::escaped,
        log_line::LogLine,
        timeline::Part,
    },
    model::id::{OrderedId, Shown, unordered},
};

/// How many lines are held back, so that they are written in the order of their beginnings: lines come in the
/// order of their ends.
const HELD: usize = 1 << 14;
/// How many processes a trace has; further groups, stages and edges share one.
const PROCESSES: usize = 512;
/// How far before the first line the time of the trace begins, in nanoseconds: a line that is written later
/// may begin earlier, and a viewer does not show negative times.
const HEAD: u64 = 86_400_000_000_000;

/// Writes the trace. Each group has processes of its own.
pub(super) fn write(by: Option<&By>, inputs: &mut Inputs, out: &mut impl Write) -> Result<Written> {
    let mut trace = Trace { out, held: BinaryHeap::new(), writer: None };
    let mapper = || {
        let by = by.cloned();
        move |line: &mut LogLine| {
            let name = by.as_ref().and_then(|by| by.of_line(line).into_iter().next());
            Slices::of(line).map(|slices| Slices { name, ..slices })
        }
    };
    inputs.map(mapper, |_, slices| slices.map_or(Ok(()), |slices| trace.add(slices)))?;
    trace.finish()
}

/// A trace, and the lines that are held back.
struct Trace<'a, W> {
    out: &'a mut W,
    held: BinaryHeap<ByBegin>,
    writer: Option<Events>,
}

/// Lines, the earliest as the greatest.
struct ByBegin(Slices);

/// What has been written.
struct Events {
    /// Time zero of the trace, in nanoseconds since the Unix epoch.
    zero: u64,
    /// By group.
    processes: BTreeMap<(Option<Name>, Track), Process>,
    names: BTreeMap<OrderedId, String>,
    slices: u64,
    flows: u64,
    /// No event has been written yet.
    is_first: bool,
}

#[derive(Default)]
struct Process {
    id: usize,
    lanes: Lanes,
}

/// An event of the format; its times are in microseconds.
#[derive(Default, Serialize)]
struct Event<'a> {
    ph: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    cat: &'static str,
    name: &'a str,
    pid: usize,
    tid: usize,
    ts: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dur: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    /// A flow ends in the slice around its end, not in the next one.
    #[serde(skip_serializing_if = "Option::is_none")]
    bp: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<&'a RawValue>,
}

impl<W: Write> Trace<'_, W> {
    fn add(&mut self, slices: Slices) -> Result<()> {
        self.held.push(ByBegin(slices));
        if self.held.len() > HELD { self.write_earliest() } else { Ok(()) }
    }

    fn write_earliest(&mut self) -> Result<()> {
        let Some(ByBegin(slices)) = self.held.pop() else { return Ok(()) };
        if self.writer.is_none() {
            self.writer = Some(Events::begin(slices.begin, self.out)?);
        }
        self.writer.as_mut().map_or(Ok(()), |writer| writer.add(slices, self.out))
    }

    fn finish(mut self) -> Result<Written> {
        while !self.held.is_empty() {
            self.write_earliest()?;
        }
        match self.writer {
            Some(writer) => writer.finish(self.out),
            None => {
                writeln!(self.out, r#"{{"traceEvents":[]}}"#)?;
                Ok(Written::Chrome { slices: 0, flows: 0 })
            }
        }
    }
}

impl Events {
    fn begin(first: u64, out: &mut impl Write) -> Result<Self> {
        let zero = first.saturating_sub(HEAD);
        let begin = Timestamp::from_unix_micros(zero / 1_000);
        let zero = zero / 1_000 * 1_000;
        let other = json!({ "time_0": begin.to_string() });
        write!(out, r#"{{"displayTimeUnit":"ms","otherData":{other},"traceEvents":["#)?;
        let (processes, names) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { zero, processes, names, slices: 0, flows: 0, is_first: true })
    }

    fn process(&mut self, name: Option<&Name>, track: Track) -> &mut Process {
        let mut key = (name.cloned(), track);
        if self.processes.len() >= PROCESSES && !self.processes.contains_key(&key) {
            key = (None, Track::Others);
        }
        // Viewers take the process 0 for the kernel's.
        let id = self.processes.len() + 1;
        self.processes.entry(key).or_insert_with(|| Process { id, lanes: Lanes::default() })
    }

    fn add(&mut self, slices: Slices, out: &mut impl Write) -> Result<()> {
        let mut places = Vec::with_capacity(slices.groups.len());
        for group in &slices.groups {
            let process = self.process(slices.name.as_ref(), group.track);
            let place = (process.id, process.lanes.next(group.from(), group.to()) + 1);
            for slice in &group.slices {
                self.slice(slice, place, out)?;
            }
            places.push(place);
        }
        for flow in slices.flows() {
            let ends = flow.map(|at| Some((slices.groups.get(at)?, *places.get(at)?)));
            if let [Some(from), Some(transfer), Some(to)] = ends {
                self.flow([from, transfer, to], out)?;
            }
        }
        for (stage, name) in slices.names {
            if self.names.len() < PROCESSES || self.names.contains_key(&stage) {
                self.names.insert(stage, name);
            }
        }
        Ok(())
    }

    fn slice(&mut self, slice: &Slice, (pid, tid): (usize, usize), out: &mut impl Write) -> Result<()> {
        let Slice { name, from, to, arguments } = slice;
        self.slices += 1;
        let ts = self.micros(*from);
        let dur = Some(to.saturating_sub(*from) as f64 / 1e3);
        self.put(&Event { ph: "X", name, pid, tid, ts, dur, args: Some(arguments), ..Event::default() }, out)
    }

    /// An arrow from the sending stage over the transfer to the receiving one. It ends in the transfer if the
    /// receiving stage has ended before it, and begins there if the sending stage begins after it.
    fn flow(&mut self, ends: [(&Group, (usize, usize)); 3], out: &mut impl Write) -> Result<()> {
        let steps: Vec<_> = moments(ends.map(|(group, _)| (group.from(), group.to())))
            .into_iter()
            .zip(ends)
            .filter_map(|(moment, (_, place))| Some((moment?, place)))
            .collect();
        if steps.len() < 2 {
            return Ok(());
        }
        self.flows += 1;
        for (at, (time, (pid, tid))) in steps.iter().copied().enumerate() {
            let ph = if at == 0 {
                "s"
            } else if at + 1 == steps.len() {
                "f"
            } else {
                "t"
            };
            let (ts, id) = (self.micros(time), Some(self.flows));
            let bp = (ph != "s").then_some("e");
            let (cat, name) = ("transfer", "transfer");
            self.put(&Event { ph, cat, name, pid, tid, ts, id, bp, ..Event::default() }, out)?;
        }
        Ok(())
    }

    fn micros(&self, time: u64) -> f64 {
        time.saturating_sub(self.zero) as f64 / 1e3
    }

    /// Writes the names of the processes and lanes, which viewers accept in any place.
    fn finish(mut self, out: &mut impl Write) -> Result<Written> {
        let mut processes: Vec<_> = mem::take(&mut self.processes).into_iter().collect();
        processes.sort_by_key(|((_, track), _)| *track == Track::Others);
        for (order, ((group, track), Process { id, lanes })) in processes.iter().enumerate() {
            let group = group.as_ref().map(|group| format!("{group}: ")).unwrap_or_default();
            let name = group + &self.name_of(*track);
            self.name(("process_name", json!({ "name": name })), (*id, 0), out)?;
            self.name(("process_sort_index", json!({ "sort_index": order })), (*id, 0), out)?;
            for lane in 1..=lanes.len() {
                self.name(("thread_name", json!({ "name": format!("lane {lane}") })), (*id, lane), out)?;
            }
        }
        writeln!(out, "]}}")?;
        Ok(Written::Chrome { slices: self.slices, flows: self.flows })
    }

    fn name_of(&self, track: Track) -> String {
        let shown = |stage| {
            let name = self.names.get(&stage).map(|name| format!(" {name}")).unwrap_or_default();
            format!("{}{name}", Shown(unordered(stage)))
        };
        match track {
            Track::Requests => "requests".to_owned(),
            Track::Of(Part::Sending((from, to))) => {
                format!("transfers {} → {}", Shown(unordered(from)), Shown(unordered(to)))
            }
            Track::Of(Part::Waiting(stage)) => format!("waiting for stage {}", shown(stage)),
            Track::Of(Part::Stage(stage)) => format!("stage {}", shown(stage)),
            Track::Of(part) => part.to_string(),
            Track::Others => "others".to_owned(),
        }
    }

    fn name(
        &mut self,
        (name, args): (&'static str, Value),
        (pid, tid): (usize, usize),
        out: &mut impl Write,
    ) -> Result<()> {
        let args = to_raw_value(&args).map_err(io::Error::from)?;
        self.put(&Event { ph: "M", name, pid, tid, args: Some(&args), ..Event::default() }, out)
    }

    fn put(&mut self, event: &Event<'_>, out: &mut impl Write) -> Result<()> {
        let separator = if mem::take(&mut self.is_first) { "\n" } else { ",\n" };
        let json = serde_json::to_string(event).map_err(io::Error::from)?;
        Ok(write!(out, "{separator}{}", escaped(json))?)
    }
}

/// The moments at which an arrow leaves a stage, passes a transfer and reaches a stage. Each lies within the
/// extent that is given, where a viewer finds the slice, and none before the one to its left; `None` where
/// that cannot be.
fn moments([from, transfer, to]: [(u64, u64); 3]) -> [Option<u64>; 3] {
    // The end of a slice is no longer within it.
    let not_before = |(begin, end): (u64, u64), moment: u64| Some(begin.max(moment)).filter(|at| *at < end);
    let leaves = Some(transfer.0.min(from.1.saturating_sub(1)).max(from.0)).filter(|at| *at < from.1);
    let leaves = leaves.filter(|leaves| *leaves < transfer.1);
    let passes = not_before(transfer, leaves.unwrap_or(0));
    [leaves, passes, not_before(to, passes.or(leaves).unwrap_or(transfer.0))]
}

impl PartialEq for ByBegin {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for ByBegin {}

impl PartialOrd for ByBegin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ByBegin {
    fn cmp(&self, other: &Self) -> Ordering {
        other.0.begin.cmp(&self.0.begin)
    }
}
