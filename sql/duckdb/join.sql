-- Puts the rows of worker processes into their requests, as `omni-metrics join --max-offset 1m` does, by their
-- times alone: the views `request`, `stage_row` and `transfer_row`, with the names of the tables of a line.
-- DuckDB, after `schema.sql`.
--
-- A request is known by (request_id, attempt): an id may come back, and its attempts are counted by time. All
-- times are milliseconds, points in time since the request was created; sums are rounded to the nanosecond.
-- What is not summed is of the last row by time, where the reader takes the last that it read.
-- `waiting_time_ms` is as the request's own line has it; `omni-metrics join` adds the waits of workers' rows, and
-- the fields `log_file`, which names the log that a request or the row of a stage comes from, and
-- `e2e_before_join_ms`, the `e2e_total_ms` of the request's own line, if rows have made it longer.
--
-- A line with `sample_rate` n stands for n requests, another line for one: that is its `weight`, and the weight
-- of the request's rows. Sums and percentiles of a sampled log need it: see `parts.sql`, `percentiles.sql`.
-- Weights do not help where lines are missing altogether:
-- * The slowest request of all may have no line, and `lost_row` counts only rows that have one.
-- * A request that is kept because it is slow or failed has weight 1, but workers keep rows by the hash of the
--   id alone: one in n such requests has rows of workers. So figures of workers' stages and edges lack these
--   requests. Take them from `worker_row`, each row weighted by its own `sample_rate`.

-- Requests as their own lines tell them.
CREATE OR REPLACE VIEW request_line AS
SELECT request_id, timestamp,
    row_number() OVER (PARTITION BY request_id ORDER BY timestamp, e2e_table.e2e_total_ms) AS attempt,
    greatest(coalesce(sample_rate, 1), 1) AS weight,
    unnest(e2e_table), stage_table, transfer_table, trace_id, span_id, fields, warnings
FROM lines WHERE type = 'request';

-- Rows of workers, each with the one request that it is in, or nearest to; of several, the one that it
-- overlaps most; of those, the one whose ends are nearest. A stage that was never entered has not started. A
-- table, since all that follows reads it.
CREATE OR REPLACE TABLE worker_row AS
WITH placed AS (
    SELECT row.*, request.attempt, request.weight, request.e2e_total_ms,
        (epoch_us(row.timestamp) - epoch_us(request.timestamp)) / 1e3 + request.e2e_total_ms AS end_ms,
        end_ms - coalesce(row.wall_time_ms, 0) AS begin_ms
    FROM lines AS row JOIN request_line AS request USING (request_id)
    WHERE row.type <> 'request')
SELECT *, if(type = 'stage' AND queue_time_ms IS NULL, NULL, round(greatest(begin_ms, 0), 6)) AS start_ms
FROM placed
QUALIFY row_number() OVER (PARTITION BY line
    ORDER BY greatest(begin_ms - e2e_total_ms, -end_ms, 0),
        least(end_ms, e2e_total_ms) - greatest(begin_ms, 0) DESC,
        abs(begin_ms) + abs(end_ms - e2e_total_ms), attempt) = 1;

-- Rows that have found no request: its line is late, or lost.
CREATE OR REPLACE VIEW lost_row AS
SELECT request_id, count(*) AS lost_rows FROM lines
WHERE type <> 'request' AND (request_id IS NULL
    OR request_id NOT IN (SELECT request_id FROM lines WHERE type = 'request'))
GROUP BY request_id;

-- One row a request and stage.
CREATE OR REPLACE VIEW stage_row AS
WITH parts AS (
    SELECT request_id, attempt, weight, NULL AS end_ms, false AS is_detached, unnest(stage_table) AS row
    FROM request_line
    UNION ALL BY NAME
    SELECT request_id, attempt, weight, end_ms, true AS is_detached, {stage_id: stage_id,
        batch_id: batch_id, batch_size: batch_size, num_tokens_in: num_tokens_in,
        num_tokens_out: num_tokens_out,
        preprocess_time_ms: preprocess_time_ms, stage_gen_time_ms: stage_gen_time_ms, stage_name: stage_name,
        busy_time_ms: busy_time_ms, queue_time_ms: queue_time_ms, start_ms: start_ms,
        first_output_ms: round(greatest(begin_ms, 0) + first_output_after_ms, 6),
        time_per_output_token_ms: time_per_output_token_ms, num_tokens_cached: num_tokens_cached,
        num_tokens_reasoning: num_tokens_reasoning, outputs: outputs,
        last_output_ms: round(greatest(begin_ms, 0) + last_output_after_ms, 6),
        inter_output_mean_ms: inter_output_mean_ms, inter_output_max_ms: inter_output_max_ms,
        media_ms: media_ms, real_time_factor: NULL::DOUBLE, underruns: underruns,
        underrun_total_ms: underrun_total_ms, share_time_ms: share_time_ms, waiting_time_ms: NULL::DOUBLE,
        events: events, fields: fields} AS row
    FROM worker_row WHERE type = 'stage'),
-- The first of a row's outputs, which may come after its `first_output_ms`.
chunks AS (
    SELECT *, row.last_output_ms - coalesce(row.inter_output_mean_ms, 0) * (row.outputs - 1) AS chunk_ms
    FROM parts),
-- The pause between the outputs of the rows before and those of this one.
paused AS (
    SELECT *, chunk_ms - max(row.last_output_ms) OVER (PARTITION BY request_id, attempt, row.stage_id
        ORDER BY chunk_ms NULLS LAST ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS pause_ms
    FROM chunks)
SELECT request_id, attempt, weight, row.stage_id AS stage_id,
    -- The request's own row comes first.
    last(row.batch_id ORDER BY end_ms NULLS FIRST) FILTER (row.batch_id IS NOT NULL) AS batch_id,
    last(row.batch_size ORDER BY end_ms NULLS FIRST) FILTER (row.batch_size IS NOT NULL) AS batch_size,
    sum(row.num_tokens_in)::UBIGINT AS num_tokens_in, sum(row.num_tokens_out)::UBIGINT AS num_tokens_out,
    round(sum(row.preprocess_time_ms), 6) AS preprocess_time_ms,
    round(sum(row.stage_gen_time_ms), 6) AS stage_gen_time_ms,
    last(row.stage_name ORDER BY end_ms NULLS FIRST) FILTER (row.stage_name IS NOT NULL) AS stage_name,
    round(sum(row.busy_time_ms), 6) AS busy_time_ms, round(sum(row.queue_time_ms), 6) AS queue_time_ms,
    min(row.start_ms) AS start_ms, min(row.first_output_ms) AS first_output_ms,
    if(bool_or(is_detached) AND sum(row.outputs) > 0,
        if(sum(row.num_tokens_out) > 1, round((max(row.last_output_ms) - min(row.first_output_ms))
            / (sum(row.num_tokens_out) - 1), 6), NULL),
        first(row.time_per_output_token_ms ORDER BY end_ms NULLS FIRST)
            FILTER (row.time_per_output_token_ms IS NOT NULL)) AS time_per_output_token_ms,
    sum(row.num_tokens_cached)::UBIGINT AS num_tokens_cached,
    sum(row.num_tokens_reasoning)::UBIGINT AS num_tokens_reasoning,
    sum(row.outputs)::UBIGINT AS outputs, max(row.last_output_ms) AS last_output_ms,
    if(sum(row.outputs) > 1, round((max(row.last_output_ms) - min(chunk_ms)) / (sum(row.outputs) - 1), 6),
        NULL) AS inter_output_mean_ms,
    round(greatest(max(row.inter_output_max_ms), max(pause_ms)), 6) AS inter_output_max_ms,
    round(sum(row.media_ms), 6) AS media_ms,
    round(sum(row.stage_gen_time_ms) / nullif(sum(row.media_ms), 0), 6) AS real_time_factor,
    sum(row.underruns)::UBIGINT AS underruns, round(sum(row.underrun_total_ms), 6) AS underrun_total_ms,
    -- A row without it has the whole of its time for itself.
    if(count(row.share_time_ms) > 0, round(sum(coalesce(row.share_time_ms, row.stage_gen_time_ms)), 6), NULL)
        AS share_time_ms,
    sum(row.waiting_time_ms) AS waiting_time_ms,
    sum(row.events)::UBIGINT AS events,
    list_reduce(list(row.fields ORDER BY end_ms NULLS FIRST) FILTER (row.fields IS NOT NULL),
        lambda known, added: json_merge_patch(known, added)) AS fields,
    bool_or(is_detached) AS has_detached
FROM paused GROUP BY ALL;

-- One row a request and edge. `total_time_ms` is the three parts together.
CREATE OR REPLACE VIEW transfer_row AS
WITH parts AS (
    SELECT request_id, attempt, weight, NULL AS end_ms, false AS is_detached, unnest(transfer_table) AS row
    FROM request_line
    UNION ALL BY NAME
    SELECT request_id, attempt, weight, end_ms, true AS is_detached, {from_stage: from_stage,
        to_stage: to_stage, size_bytes: size_bytes, tx_time_ms: tx_time_ms,
        rx_decode_time_ms: rx_decode_time_ms,
        in_flight_time_ms: in_flight_time_ms, total_time_ms: coalesce(tx_time_ms, 0)
            + coalesce(rx_decode_time_ms, 0) + coalesce(in_flight_time_ms, 0),
        start_ms: start_ms, events: events, fields: fields} AS row
    FROM worker_row WHERE type = 'transfer')
SELECT request_id, attempt, weight, row.from_stage AS from_stage, row.to_stage AS to_stage,
    sum(row.size_bytes)::UBIGINT AS size_bytes, round(sum(row.tx_time_ms), 6) AS tx_time_ms,
    round(sum(row.rx_decode_time_ms), 6) AS rx_decode_time_ms,
    round(sum(row.in_flight_time_ms), 6) AS in_flight_time_ms,
    round(sum(row.total_time_ms), 6) AS total_time_ms,
    min(row.start_ms) AS start_ms, sum(row.events)::UBIGINT AS events,
    list_reduce(list(row.fields ORDER BY end_ms NULLS FIRST) FILTER (row.fields IS NOT NULL),
        lambda known, added: json_merge_patch(known, added)) AS fields,
    bool_or(is_detached) AS has_detached
FROM parts GROUP BY ALL;

-- How much of a request's time rows of workers cover that its own rows do not: gaps and islands. Stretches in
-- order of their begin; each adds what lies past all ends before it. One of a worker begins when its message
-- was sent, and so does one of the request's own transfers that has no sending span.
CREATE OR REPLACE VIEW covered AS
WITH stretches AS (
    SELECT request_id, attempt, true AS is_own, row.start_ms AS since,
        row.start_ms + row.stage_gen_time_ms AS until
    FROM (SELECT request_id, attempt, unnest(stage_table) AS row FROM request_line)
    UNION ALL
    SELECT request_id, attempt, true,
        if(row.start_ms IS NULL, NULL, greatest(row.start_ms
            - if(row.tx_time_ms IS NULL, coalesce(row.in_flight_time_ms, 0), 0), 0)),
        row.start_ms + if(row.tx_time_ms IS NULL, coalesce(row.rx_decode_time_ms, 0), row.total_time_ms)
    FROM (SELECT request_id, attempt, unnest(transfer_table) AS row FROM request_line)
    UNION ALL
    SELECT request_id, attempt, false, greatest(begin_ms - coalesce(in_flight_time_ms, 0), 0),
        greatest(end_ms, 0)
    FROM worker_row),
known AS (
    SELECT *, coalesce(max(until) OVER before, 0) AS all_until,
        coalesce(max(until) FILTER (is_own) OVER before, 0) AS own_until
    FROM stretches WHERE until IS NOT NULL
    WINDOW before AS (PARTITION BY request_id, attempt ORDER BY since, until
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING))
SELECT request_id, attempt, sum(greatest(until - greatest(since, all_until), 0))
    - coalesce(sum(greatest(until - greatest(since, own_until), 0)) FILTER (is_own), 0) AS covered_ms
FROM known GROUP BY ALL;

-- One row a request, complete. One without rows of workers is what its line says.
CREATE OR REPLACE VIEW request AS
WITH workers AS (
    SELECT request_id, attempt, count(*) AS worker_rows, max(timestamp) AS last, max(end_ms) AS end_ms,
        min(start_ms) FILTER (type = 'stage') AS queue_time_ms,
        flatten(list(warnings ORDER BY end_ms) FILTER (warnings IS NOT NULL)) AS warnings
    FROM worker_row GROUP BY ALL),
tokens AS (
    SELECT request_id, attempt, coalesce(sum(num_tokens_in) FILTER (stage_id = 0), 0)
        + coalesce(sum(num_tokens_out), 0) AS tokens, max(media_ms) AS media_ms
    FROM stage_row GROUP BY ALL),
transfers AS (
    SELECT request_id, attempt, coalesce(sum(size_bytes), 0) AS bytes, round(sum(total_time_ms), 6) AS time_ms
    FROM transfer_row GROUP BY ALL)
SELECT request_id, attempt, weight, greatest(line.timestamp, workers.last) AS timestamp,
    round(greatest(e2e_total_ms, end_ms), 6) AS e2e_total_ms,
    if(worker_rows > 0, coalesce(tokens, 0), e2e_total_tokens)::UBIGINT AS e2e_total_tokens,
    if(worker_rows > 0, coalesce(time_ms, 0), transfers_total_time_ms) AS transfers_total_time_ms,
    if(worker_rows > 0, coalesce(bytes, 0), transfers_total_bytes)::UBIGINT AS transfers_total_bytes,
    least(line.queue_time_ms, workers.queue_time_ms) AS queue_time_ms,
    -- What the end has moved by is nobody's either, but for what the rows cover.
    if(worker_rows > 0, round(greatest(unattributed_time_ms + greatest(end_ms - e2e_total_ms, 0)
        - coalesce(covered_ms, 0), 0), 6), unattributed_time_ms) AS unattributed_time_ms,
    if(worker_rows > 0, round(greatest(e2e_total_ms, end_ms) / nullif(media_ms, 0), 6),
        real_time_factor) AS real_time_factor,
    waiting_time_ms, errors, error, finish_reason, coalesce(worker_rows, 0) AS worker_rows, trace_id, span_id,
    fields,
    list_concat(line.warnings, workers.warnings)[:16] AS warnings
FROM request_line AS line
    LEFT JOIN workers USING (request_id, attempt) LEFT JOIN tokens USING (request_id, attempt)
    LEFT JOIN transfers USING (request_id, attempt) LEFT JOIN covered USING (request_id, attempt);
