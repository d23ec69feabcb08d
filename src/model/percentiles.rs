//! The distributions of a run's numbers.

use serde_core::{Serialize, de::DeserializeOwned};

use crate::{
    E2eTable, Millis, StageRow, TransferRow,
    model::record::{object, record},
};

/// How a number is distributed over the requests of a run, or over the rows of one stage or edge, detached
/// ones included.
///
/// `count`, `mean` and `max` are exact; percentiles have a relative error of less than 1 %.
///
/// ```
/// use std::time::Duration;
///
/// use omni_metrics::{Clock, OmniMetricsLayer};
/// use tracing_subscriber::prelude::*;
///
/// let (clock, time) = Clock::mock();
/// let layer = OmniMetricsLayer::new().with_writer(std::io::sink).with_clock(clock);
/// let handle = layer.handle();
/// let subscriber = tracing_subscriber::registry().with(layer);
/// tracing::subscriber::with_default(subscriber, || {
///     for ms in 1..=100 {
///         let _request = tracing::info_span!("request").entered();
///         time.advance(Duration::from_millis(ms));
///     }
/// });
/// let latency = handle.snapshot().percentiles.e2e_total_ms.expect("there were requests");
/// assert_eq!((latency.count, latency.mean.as_f64(), latency.max.as_f64()), (100, 50.5, 100.0));
/// assert!((latency.p90.as_f64() - 90.0).abs() < 0.9);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Distribution<T> {
    /// How many requests, or rows, have this number.
    pub count: u64,
    /// The sum of the values divided by `count`.
    pub mean: T,
    /// The median: half of the values are not larger.
    pub p50: T,
    /// 90 % of the values are not larger.
    pub p90: T,
    /// 99 % of the values are not larger.
    pub p99: T,
    /// 99.9 % of the values are not larger.
    pub p999: T,
    /// The largest value.
    pub max: T,
}

/// The distributions of a run, from [`Snapshot::percentiles`](crate::Snapshot::percentiles). One is absent if
/// no request has the number.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Percentiles {
    /// Of [`E2eTable::e2e_total_ms`].
    pub e2e_total_ms: Option<Distribution<Millis>>,
    /// Of [`E2eTable::queue_time_ms`].
    pub queue_time_ms: Option<Distribution<Millis>>,
    /// Of [`E2eTable::unattributed_time_ms`].
    pub unattributed_time_ms: Option<Distribution<Millis>>,
    /// Of [`E2eTable::real_time_factor`].
    pub real_time_factor: Option<Distribution<f64>>,
    /// Of `e2e_total_tokens * 1000 / e2e_total_ms`.
    pub tokens_per_s: Option<Distribution<f64>>,
    /// Ordered by `stage_id`, for the 16 smallest ids.
    pub stages: Vec<StagePercentiles>,
    /// Ordered by (`from_stage`, `to_stage`), for the 16 smallest pairs.
    pub transfers: Vec<TransferPercentiles>,
}

/// The distributions of one stage: one value for each of its rows in a request, and for each detached span.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct StagePercentiles {
    /// As recorded.
    pub stage_id: Option<u64>,
    /// Of [`StageRow::stage_gen_time_ms`].
    pub stage_gen_time_ms: Option<Distribution<Millis>>,
    /// Of [`StageRow::busy_time_ms`].
    pub busy_time_ms: Option<Distribution<Millis>>,
    /// Of [`StageRow::queue_time_ms`].
    pub queue_time_ms: Option<Distribution<Millis>>,
    /// Of [`StageRow::first_output_ms`].
    pub first_output_ms: Option<Distribution<Millis>>,
    /// Of [`StageRow::time_per_output_token_ms`].
    pub time_per_output_token_ms: Option<Distribution<Millis>>,
    /// Of all gaps between one output and the next, not of a mean for each request.
    pub inter_output_ms: Option<Distribution<Millis>>,
    /// Of [`StageRow::real_time_factor`].
    pub real_time_factor: Option<Distribution<f64>>,
}

/// The distributions of one edge: one value for each of its rows in a request, and for each detached span.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct TransferPercentiles {
    /// As recorded.
    pub from_stage: Option<u64>,
    /// As recorded.
    pub to_stage: Option<u64>,
    /// Of [`TransferRow::tx_time_ms`].
    pub tx_time_ms: Option<Distribution<Millis>>,
    /// Of [`TransferRow::in_flight_time_ms`].
    pub in_flight_time_ms: Option<Distribution<Millis>>,
    /// Of [`TransferRow::rx_decode_time_ms`].
    pub rx_decode_time_ms: Option<Distribution<Millis>>,
    /// Of [`TransferRow::total_time_ms`].
    pub total_time_ms: Option<Distribution<Millis>>,
}

record! {
    Distribution<T: Serialize + DeserializeOwned>:
    count: always,
    mean: always,
    p50: always,
    p90: always,
    p99: always,
    p999: always,
    max: always,
}

record! {
    Percentiles:
    e2e_total_ms: always,
    queue_time_ms: always,
    unattributed_time_ms: always,
    real_time_factor: if_some,
    tokens_per_s: always,
    stages: always,
    transfers: always,
}

record! {
    StagePercentiles:
    stage_id: always,
    stage_gen_time_ms: always,
    busy_time_ms: always,
    queue_time_ms: always,
    first_output_ms: always,
    time_per_output_token_ms: always,
    inter_output_ms: if_some,
    real_time_factor: if_some,
}

record! {
    TransferPercentiles:
    from_stage: always,
    to_stage: always,
    tx_time_ms: always,
    in_flight_time_ms: always,
    rx_decode_time_ms: always,
    total_time_ms: always,
}

object!(Distribution<Millis>, Distribution<f64>, Percentiles, StagePercentiles, TransferPercentiles);

/// The name of a number, and its distribution.
#[cfg(feature = "tables")]
type Named<T> = (&'static str, Option<Distribution<T>>);

/// Lists the numbers of a table that have percentiles, times and ratios, in the order of the fields. A field
/// that is in no list, or the other way round, does not compile.
macro_rules! distributions {
    (
        $Percentiles:ident of $Row:ident:
        times $($time:ident),*;
        ratios $($ratio:ident),*;
        besides $($besides:ident: $Besides:ty),*
    ) => {
        impl $Percentiles {
            pub(crate) const TIMES: &'static [&'static str] = &[$(stringify!($time)),*];
            pub(crate) const RATIOS: &'static [&'static str] = &[$(stringify!($ratio)),*];

            /// Hands each time that the row has to `count`, with its place in the list.
            #[inline(always)]
            pub(crate) fn times(row: &$Row, mut count: impl FnMut(usize, Millis)) {
                let mut place = 0..;
                $(if let (Some(place), Some(time)) = (place.next(), row.$time.into()) {
                    count(place, time);
                })*
            }

            /// Hands each ratio that the row has to `count`, with its place in the list.
            #[inline(always)]
            pub(crate) fn ratios(row: &$Row, mut count: impl FnMut(usize, f64)) {
                let _ = (row, &mut count);
                let mut place = 0..;
                let _ = &mut place;
                $(if let (Some(place), Some(ratio)) = (place.next(), row.$ratio) {
                    count(place, ratio);
                })*
            }

            pub(crate) fn of(
                $($besides: $Besides,)*
                times: impl Fn(usize) -> Option<Distribution<Millis>>,
                ratios: impl Fn(usize) -> Option<Distribution<f64>>,
            ) -> Self {
                let (mut places, mut places_of_ratios) = (0.., 0..);
                let mut next = || times(places.next()?);
                let mut next_ratio = || ratios(places_of_ratios.next()?);
                let _ = &mut next_ratio;
                Self { $($time: next(),)* $($ratio: next_ratio(),)* $($besides),* }
            }

            /// The times, with their names.
            #[cfg(feature = "tables")]
            pub(crate) fn named_times(&self) -> impl Iterator<Item = Named<Millis>> {
                let Self { $($time,)* $($ratio: _,)* $($besides: _),* } = self;
                Self::TIMES.iter().copied().zip([$(*$time),*])
            }

            /// The ratios, with their names.
            #[cfg(feature = "tables")]
            pub(crate) fn named_ratios(&self) -> impl Iterator<Item = Named<f64>> {
                let Self { $($time: _,)* $($ratio,)* $($besides: _),* } = self;
                Self::RATIOS.iter().copied().zip([$(*$ratio),*])
            }
        }
    };
}

distributions! {
    Percentiles of E2eTable:
    times e2e_total_ms, queue_time_ms, unattributed_time_ms;
    ratios real_time_factor;
    besides tokens_per_s: Option<Distribution<f64>>, stages: Vec<StagePercentiles>,
        transfers: Vec<TransferPercentiles>
}

distributions! {
    StagePercentiles of StageRow:
    times stage_gen_time_ms, busy_time_ms, queue_time_ms, first_output_ms, time_per_output_token_ms;
    ratios real_time_factor;
    besides stage_id: Option<u64>, inter_output_ms: Option<Distribution<Millis>>
}

distributions! {
    TransferPercentiles of TransferRow:
    times tx_time_ms, in_flight_time_ms, rx_decode_time_ms, total_time_ms;
    ratios ;
    besides from_stage: Option<u64>, to_stage: Option<u64>
}
