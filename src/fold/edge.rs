//! A row of the transfer table under construction.

use crate::{
    Fields, Millis, TransferRow,
    fold::{
        closed::Closed,
        fields::Phase,
        further::merge_further,
        hops::{Flight, Flights, Half, Hops},
        intervals::Intervals,
        row_list::Row,
    },
    model::{
        early_arrival, id::Shown, kind::Kind, moment::earliest, numbers::Table, sums::add_to,
        warnings::Warnings,
    },
};

/// The row of one edge in one request.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edge {
    pub(crate) row: TransferRow,
    first_enter: Option<u64>,
    hops: Hops,
}

impl Row for Edge {
    fn reset(&mut self) {
        let Self { row, first_enter, hops } = self;
        row.reset();
        *first_enter = None;
        *hops = Hops::default();
    }
}

impl Edge {
    /// A row of a request, or, detached, of one span.
    pub(crate) fn new(ends: (Option<u64>, Option<u64>)) -> Self {
        let mut edge = Self::default();
        edge.begin(ends);
        edge
    }

    pub(crate) fn begin(&mut self, (from_stage, to_stage): (Option<u64>, Option<u64>)) {
        self.row.from_stage = from_stage;
        self.row.to_stage = to_stage;
    }

    /// Adds one span. Completed flights are put into `flights`, for [`add_flights`](Self::add_flights).
    pub(crate) fn add(
        &mut self,
        span: &mut Closed<'_>,
        sent_at: Option<i64>,
        flights: &mut Flights,
        warnings: &mut Warnings,
    ) {
        let numbers = span.fields.transfer();
        let measured = span.measured;
        let phase = span.fields.phase;
        let measured_in = |wanted| (phase == wanted).then(|| measured.span_time());
        let tx_time = numbers.tx_time.or_else(|| measured_in(Phase::Tx));
        let rx_decode_time = numbers.rx_decode_time.or_else(|| measured_in(Phase::Rx));
        let of_span = TransferRow {
            from_stage: self.row.from_stage,
            to_stage: self.row.to_stage,
            size_bytes: numbers.size_bytes,
            tx_time_ms: tx_time.map(Millis::from_nanos),
            rx_decode_time_ms: rx_decode_time.map(Millis::from_nanos),
            in_flight_time_ms: numbers.in_flight_time.map(Millis::from_nanos),
            // `finish` knows these, and whoever writes a detached row the next one.
            total_time_ms: Millis::ZERO,
            start_ms: None,
            wall_time_ms: None,
            events: 1,
            fields: Fields::new(),
        };
        self.row.merge(of_span, warnings);
        if let Some(further) = span.further() {
            merge_further(&mut self.row.fields, further, Kind::Transfer, warnings);
        }
        self.first_enter = earliest(self.first_enter, measured.activity.map(|(first, _)| first));

        let (start, is_recorded) = (measured.start(), numbers.in_flight_time.is_some());
        match phase {
            Phase::Tx => {
                let half = Half { start, moment: measured.end, is_recorded, sent_at: None };
                self.hops.add_sent(half, flights);
            }
            Phase::Rx => {
                let half = Half { start, moment: start, is_recorded, sent_at };
                self.hops.add_received(half, flights);
            }
        }
    }

    /// Adds the time of completed flights to the row, and to the activity of the request.
    pub(crate) fn add_flights(
        &mut self,
        flights: &Flights,
        activity: &mut Intervals,
        warnings: &mut Warnings,
    ) {
        for flight in flights {
            let (from, to, nanos) = match *flight {
                Flight::Hop { from, to } => (from, to, Some(to.saturating_sub(from))),
                Flight::Recorded { from, to } => (from, to, None),
                Flight::Crowd { nanos, from, to } => (from, to, nanos),
            };
            activity.add(from.max(0) as u64, to.max(0) as u64);
            let Some(nanos) = nanos else { continue };
            if nanos < 0 {
                let edge = (self.row.from_stage, self.row.to_stage);
                warnings.push(early_arrival::warning(edge, nanos.unsigned_abs()));
            }
            let time = Millis::from_nanos(nanos.max(0) as u64);
            add_to(
                &mut self.row.in_flight_time_ms,
                Some(time),
                Kind::Transfer,
                "in_flight_time_ms",
                warnings,
            );
        }
    }

    /// Pairs the hops that still wait for their other half.
    pub(crate) fn match_rest(&mut self, flights: &mut Flights, warnings: &mut Warnings) {
        let unknown = self.hops.finish(flights);
        if unknown > 0 {
            let (from, to) = (Shown(self.row.from_stage), Shown(self.row.to_stage));
            let what = format!(
                "too many hops of edge {from} -> {to} were under way at once to tell this many apart; \
                 left out"
            );
            warnings.add(Kind::Transfer, "in_flight_time_ms", unknown, what);
        }
    }

    /// Completes the row. `start_ms` counts from the creation of the request, if it has one.
    pub(crate) fn finish(&mut self, created: Option<u64>, warnings: &mut Warnings) {
        let row = &mut self.row;
        row.start_ms = self
            .first_enter
            .zip(created)
            .map(|(first, created)| Millis::from_nanos(first.saturating_sub(created)));
        row.total_time_ms = row.total(warnings);
    }
}
