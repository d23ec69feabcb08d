-- Loads logs into the table `lines`, a row a line. DuckDB. Which files, compressed or not, says a variable:
--   SET VARIABLE logs = 'logs/*.jsonl';

-- Lines of others and cut lines are read as rows of NULLs, and left out; keys not named here are ignored. A
-- request has its tables; a row of a worker (`stage`, `transfer`) has the columns of one row of them.
CREATE OR REPLACE TABLE lines AS
SELECT row_number() OVER () AS line, *
FROM read_json(getvariable('logs'), format = 'newline_delimited', ignore_errors = true,
    maximum_object_size = 16777216, columns = {
    type: 'VARCHAR', schema: 'UINTEGER', timestamp: 'TIMESTAMP', request_id: 'VARCHAR',
    sample_rate: 'UINTEGER', trace_id: 'VARCHAR', span_id: 'VARCHAR', fields: 'JSON', warnings: 'VARCHAR[]',
    -- Of a request.
    e2e_table: 'STRUCT(
        e2e_total_ms DOUBLE, e2e_total_tokens UBIGINT, transfers_total_time_ms DOUBLE,
        transfers_total_bytes UBIGINT, queue_time_ms DOUBLE, unattributed_time_ms DOUBLE,
        real_time_factor DOUBLE, waiting_time_ms DOUBLE, errors UBIGINT, error VARCHAR,
        finish_reason VARCHAR)',
    stage_table: 'STRUCT(
        stage_id UBIGINT, batch_id UBIGINT, batch_size UBIGINT, num_tokens_in UBIGINT, num_tokens_out UBIGINT,
        preprocess_time_ms DOUBLE, stage_gen_time_ms DOUBLE, stage_name VARCHAR, busy_time_ms DOUBLE,
        queue_time_ms DOUBLE, start_ms DOUBLE, first_output_ms DOUBLE, time_per_output_token_ms DOUBLE,
        num_tokens_cached UBIGINT, num_tokens_reasoning UBIGINT, outputs UBIGINT, last_output_ms DOUBLE,
        inter_output_mean_ms DOUBLE, inter_output_max_ms DOUBLE, media_ms DOUBLE, real_time_factor DOUBLE,
        underruns UBIGINT, underrun_total_ms DOUBLE, share_time_ms DOUBLE, waiting_time_ms DOUBLE,
        events UBIGINT, fields JSON)[]',
    transfer_table: 'STRUCT(
        from_stage UBIGINT, to_stage UBIGINT, size_bytes UBIGINT, tx_time_ms DOUBLE, rx_decode_time_ms DOUBLE,
        in_flight_time_ms DOUBLE, total_time_ms DOUBLE, start_ms DOUBLE, events UBIGINT, fields JSON)[]',
    -- Of a row of a worker: both kinds, one, the other.
    wall_time_ms: 'DOUBLE', events: 'UBIGINT',
    stage_id: 'UBIGINT', batch_id: 'UBIGINT', batch_size: 'UBIGINT', num_tokens_in: 'UBIGINT',
    num_tokens_out: 'UBIGINT', preprocess_time_ms: 'DOUBLE', stage_gen_time_ms: 'DOUBLE',
    stage_name: 'VARCHAR', busy_time_ms: 'DOUBLE', queue_time_ms: 'DOUBLE',
    first_output_after_ms: 'DOUBLE', last_output_after_ms: 'DOUBLE', time_per_output_token_ms: 'DOUBLE',
    num_tokens_cached: 'UBIGINT', num_tokens_reasoning: 'UBIGINT', outputs: 'UBIGINT',
    inter_output_mean_ms: 'DOUBLE', inter_output_max_ms: 'DOUBLE', media_ms: 'DOUBLE',
    underruns: 'UBIGINT', underrun_total_ms: 'DOUBLE', share_time_ms: 'DOUBLE',
    from_stage: 'UBIGINT', to_stage: 'UBIGINT', size_bytes: 'UBIGINT', tx_time_ms: 'DOUBLE',
    rx_decode_time_ms: 'DOUBLE', in_flight_time_ms: 'DOUBLE'})
WHERE type IN ('request', 'stage', 'transfer') AND schema IS NOT NULL AND timestamp IS NOT NULL
    AND (type <> 'request' OR request_id IS NOT NULL AND e2e_table.e2e_total_ms IS NOT NULL);
