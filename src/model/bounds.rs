//! The bounds of the recommended buckets.

/// Times of requests and stages, from 1 ms to 7,680 s.
///
/// From 0.3 s on they are vLLM's bounds for `vllm:e2e_request_latency_seconds` and the times of a request's
/// phases. From 10 ms to 0.16 s they are OpenTelemetry's for `gen_ai.server.request.duration`. Below that,
/// where short stages and queues are, they are this crate's own.
///
/// ```
/// use omni_metrics::buckets::LATENCY_SECONDS;
///
/// assert_eq!((LATENCY_SECONDS.first(), LATENCY_SECONDS.last()), (Some(&0.001), Some(&7680.0)));
/// ```
pub const LATENCY_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0,
    20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0,
];

/// From a request to a stage's first output, from 1 ms to 2,560 s: vLLM's bounds for
/// `vllm:time_to_first_token_seconds`, of which those up to 10 s are also OpenTelemetry's for
/// `gen_ai.server.time_to_first_token`.
///
/// ```
/// use omni_metrics::buckets::FIRST_OUTPUT_SECONDS;
///
/// assert_eq!((FIRST_OUTPUT_SECONDS.first(), FIRST_OUTPUT_SECONDS.last()), (Some(&0.001), Some(&2560.0)));
/// ```
pub const FIRST_OUTPUT_SECONDS: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];

/// Gaps between outputs, and the time per output token, from 1 ms to 80 s.
///
/// From 10 ms on they are vLLM's bounds for `vllm:inter_token_latency_seconds`, of which those up to 2.5 s
/// are also OpenTelemetry's for `gen_ai.server.time_per_output_token`. Below that, where small models and
/// codecs are, they are this crate's own.
///
/// ```
/// use omni_metrics::buckets::INTER_OUTPUT_SECONDS;
///
/// assert_eq!((INTER_OUTPUT_SECONDS.first(), INTER_OUTPUT_SECONDS.last()), (Some(&0.001), Some(&80.0)));
/// ```
pub const INTER_OUTPUT_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
    10.0, 20.0, 40.0, 80.0,
];

/// Times of transfers, from 10 µs, which a channel within a process takes, to a minute. Neither vLLM nor
/// OpenTelemetry has a counterpart.
///
/// ```
/// use omni_metrics::buckets::TRANSFER_SECONDS;
///
/// assert_eq!((TRANSFER_SECONDS.first(), TRANSFER_SECONDS.last()), (Some(&1e-5), Some(&60.0)));
/// ```
pub const TRANSFER_SECONDS: &[f64] = &[
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0, 30.0, 60.0,
];

/// Bytes of transfers, from 64 bytes to 4 GiB, each bound four times the one before. Neither vLLM nor
/// OpenTelemetry has a counterpart.
///
/// ```
/// use omni_metrics::buckets::BYTES;
///
/// assert_eq!((BYTES.first(), BYTES.last()), (Some(&64.0), Some(&4_294_967_296.0)));
/// ```
pub const BYTES: &[f64] = &[
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
    268_435_456.0,
    1_073_741_824.0,
    4_294_967_296.0,
];

/// Real-time factors, finer around 1, above which a listener has to wait. Neither vLLM nor OpenTelemetry has
/// a counterpart.
///
/// ```
/// use omni_metrics::buckets::REAL_TIME_FACTOR;
///
/// assert!(REAL_TIME_FACTOR.contains(&1.0));
/// ```
pub const REAL_TIME_FACTOR: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 5.0, 10.0];
