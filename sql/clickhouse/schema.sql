-- The table `lines`: a row a line, as it comes over HTTP or from a client. ClickHouse; run on 26.9.
--   INSERT INTO lines FORMAT JSONEachRow
-- with date_time_input_format = 'best_effort' and input_format_skip_unknown_fields = 1. Lines of others and
-- cut lines have to be left out before: a shipper does that.

-- A request has its tables; a row of a worker (`stage`, `transfer`) has the columns of one row of them.
-- Shippers deliver at least once: lines with the same sorting key are the same line, and count once under
-- FINAL.
CREATE TABLE IF NOT EXISTS lines
(
    type LowCardinality(String),
    schema UInt32,
    timestamp DateTime64(6, 'UTC') CODEC(Delta, ZSTD),
    request_id Nullable(String) CODEC(ZSTD),
    -- A line stands for so many requests; 0 where it says nothing, which is one.
    sample_rate UInt32 CODEC(ZSTD),
    trace_id Nullable(String) CODEC(ZSTD),
    span_id Nullable(String) CODEC(ZSTD),
    fields String CODEC(ZSTD),
    warnings Array(String) CODEC(ZSTD),
    -- Of a request.
    e2e_table Tuple(
        e2e_total_ms Float64, e2e_total_tokens UInt64, transfers_total_time_ms Float64,
        transfers_total_bytes UInt64, queue_time_ms Nullable(Float64), unattributed_time_ms Float64,
        real_time_factor Nullable(Float64), waiting_time_ms Nullable(Float64), errors Nullable(UInt64),
        error Nullable(String),
        finish_reason Nullable(String)) CODEC(ZSTD),
    stage_table Array(Tuple(
        stage_id Nullable(UInt64), batch_id Nullable(UInt64), batch_size Nullable(UInt64),
        num_tokens_in Nullable(UInt64), num_tokens_out Nullable(UInt64), preprocess_time_ms Nullable(Float64),
        stage_gen_time_ms Nullable(Float64), stage_name Nullable(String), busy_time_ms Nullable(Float64),
        queue_time_ms Nullable(Float64), start_ms Nullable(Float64), first_output_ms Nullable(Float64),
        time_per_output_token_ms Nullable(Float64), num_tokens_cached Nullable(UInt64),
        num_tokens_reasoning Nullable(UInt64), outputs Nullable(UInt64), last_output_ms Nullable(Float64),
        inter_output_mean_ms Nullable(Float64), inter_output_max_ms Nullable(Float64),
        media_ms Nullable(Float64), real_time_factor Nullable(Float64), underruns Nullable(UInt64),
        underrun_total_ms Nullable(Float64), share_time_ms Nullable(Float64),
        waiting_time_ms Nullable(Float64), events UInt64, fields String)) CODEC(ZSTD),
    transfer_table Array(Tuple(
        from_stage Nullable(UInt64), to_stage Nullable(UInt64), size_bytes Nullable(UInt64),
        tx_time_ms Nullable(Float64), rx_decode_time_ms Nullable(Float64),
        in_flight_time_ms Nullable(Float64), total_time_ms Float64, start_ms Nullable(Float64),
        events UInt64, fields String)) CODEC(ZSTD),
    -- Of a row of a worker: of both kinds, of a stage, of a transfer.
    wall_time_ms Nullable(Float64) CODEC(ZSTD),
    events UInt64 CODEC(ZSTD),
    stage_id Nullable(UInt64) CODEC(ZSTD),
    batch_id Nullable(UInt64) CODEC(ZSTD),
    batch_size Nullable(UInt64) CODEC(ZSTD),
    num_tokens_in Nullable(UInt64) CODEC(ZSTD),
    num_tokens_out Nullable(UInt64) CODEC(ZSTD),
    preprocess_time_ms Nullable(Float64) CODEC(ZSTD),
    stage_gen_time_ms Nullable(Float64) CODEC(ZSTD),
    stage_name Nullable(String) CODEC(ZSTD),
    busy_time_ms Nullable(Float64) CODEC(ZSTD),
    queue_time_ms Nullable(Float64) CODEC(ZSTD),
    first_output_after_ms Nullable(Float64) CODEC(ZSTD),
    last_output_after_ms Nullable(Float64) CODEC(ZSTD),
    time_per_output_token_ms Nullable(Float64) CODEC(ZSTD),
    num_tokens_cached Nullable(UInt64) CODEC(ZSTD),
    num_tokens_reasoning Nullable(UInt64) CODEC(ZSTD),
    outputs Nullable(UInt64) CODEC(ZSTD),
    inter_output_mean_ms Nullable(Float64) CODEC(ZSTD),
    inter_output_max_ms Nullable(Float64) CODEC(ZSTD),
    media_ms Nullable(Float64) CODEC(ZSTD),
    underruns Nullable(UInt64) CODEC(ZSTD),
    underrun_total_ms Nullable(Float64) CODEC(ZSTD),
    share_time_ms Nullable(Float64) CODEC(ZSTD),
    from_stage Nullable(UInt64) CODEC(ZSTD),
    to_stage Nullable(UInt64) CODEC(ZSTD),
    size_bytes Nullable(UInt64) CODEC(ZSTD),
    tx_time_ms Nullable(Float64) CODEC(ZSTD),
    rx_decode_time_ms Nullable(Float64) CODEC(ZSTD),
    in_flight_time_ms Nullable(Float64) CODEC(ZSTD),
    -- What makes a line another one. Without `fields`, which not every shipper writes alike.
    line_hash UInt64 MATERIALIZED sipHash64((type, timestamp, request_id, span_id, e2e_table, wall_time_ms,
        stage_id, batch_id, num_tokens_in, num_tokens_out, preprocess_time_ms, stage_gen_time_ms,
        busy_time_ms, queue_time_ms, from_stage, to_stage, size_bytes, tx_time_ms, rx_decode_time_ms,
        in_flight_time_ms, warnings)),
    -- Finds one request without reading the day.
    INDEX by_request request_id TYPE bloom_filter GRANULARITY 4
)
ENGINE = ReplacingMergeTree
PARTITION BY toDate(timestamp)
ORDER BY (type, timestamp, line_hash)
-- How long lines are kept. Whole days go at a time.
TTL toDateTime(timestamp) + INTERVAL 30 DAY
SETTINGS ttl_only_drop_parts = 1;
