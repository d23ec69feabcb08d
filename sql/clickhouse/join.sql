-- Puts the rows of worker processes into their requests, as `omni-metrics join --max-offset 1m` does, by their
-- times alone: the views `request`, `stage_row` and `transfer_row`, with the names of the tables of a line.
-- ClickHouse, after `schema.sql`.
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

-- The lines that the views are of. For a large table, narrow it to a period, as in
-- AND timestamp > now() - INTERVAL 1 DAY. A request whose rows lie beyond the edge of it lacks them.
CREATE OR REPLACE VIEW selected_line AS
SELECT *, line_hash FROM lines FINAL
WHERE type IN ('request', 'stage', 'transfer') AND schema > 0
SETTINGS do_not_merge_across_partitions_select_final = 1;

-- Requests as their own lines tell them.
CREATE OR REPLACE VIEW request_line AS
SELECT request_id, timestamp,
    row_number() OVER (PARTITION BY request_id ORDER BY timestamp, e2e_table.e2e_total_ms) AS attempt,
    greatest(sample_rate, 1) AS weight, e2e_table, stage_table, transfer_table, trace_id, span_id, fields,
    warnings
FROM selected_line WHERE type = 'request';

-- Rows of workers, each with the one request that it is in, or nearest to; of several, the one that it
-- overlaps most; of those, the one whose ends are nearest. A stage that was never entered has not started.
CREATE OR REPLACE VIEW worker_row AS
WITH requests AS (
    SELECT request_id, arraySort(groupArray((attempt, timestamp, e2e_table.e2e_total_ms, weight))) AS attempts
    FROM request_line GROUP BY request_id)
SELECT line.*,
    arrayMap(request -> (request.1,
        (toUnixTimestamp64Micro(line.timestamp) - toUnixTimestamp64Micro(request.2)) / 1e3 + request.3,
        request.3, request.4), requests.attempts) AS ends,
    arraySort(request -> (
            greatest(request.2 - ifNull(line.wall_time_ms, 0) - request.3, -request.2, 0),
            -(least(request.2, request.3) - greatest(request.2 - ifNull(line.wall_time_ms, 0), 0)),
            abs(request.2 - ifNull(line.wall_time_ms, 0)) + abs(request.2 - request.3)), ends)[1]
        AS nearest,
    nearest.1 AS attempt, nearest.4 AS weight, nearest.2 AS end_ms,
    end_ms - ifNull(line.wall_time_ms, 0) AS begin_ms,
    if(line.type = 'stage' AND line.queue_time_ms IS NULL, NULL, round(greatest(begin_ms, 0), 6)) AS start_ms
FROM selected_line AS line INNER JOIN requests USING (request_id)
WHERE line.type IN ('stage', 'transfer');

-- Rows that have found no request: its line is late, or lost.
CREATE OR REPLACE VIEW lost_row AS
SELECT request_id, count() AS lost_rows FROM selected_line
WHERE type <> 'request' AND (request_id IS NULL
    OR request_id NOT IN (SELECT request_id FROM selected_line WHERE type = 'request'))
GROUP BY request_id;

-- One row a request and stage. The request's own row comes first.
CREATE OR REPLACE VIEW stage_row AS
WITH parts AS (
    SELECT request_id, attempt, weight, -inf AS at, false AS detached, row.stage_id AS stage,
        row.batch_id AS batch, row.batch_size AS size, row.num_tokens_in AS tokens_in,
        row.num_tokens_out AS tokens_out, row.preprocess_time_ms AS preprocess, row.stage_gen_time_ms AS gen,
        row.stage_name AS name, row.busy_time_ms AS busy, row.queue_time_ms AS queue, row.start_ms AS start,
        row.first_output_ms AS first_output, row.time_per_output_token_ms AS per_token,
        row.num_tokens_cached AS cached, row.num_tokens_reasoning AS reasoning, row.outputs AS chunks,
        row.last_output_ms AS last_output, row.inter_output_mean_ms AS mean_gap,
        row.inter_output_max_ms AS max_gap, row.media_ms AS media, row.underruns AS silences,
        row.underrun_total_ms AS silence, row.share_time_ms AS share, row.waiting_time_ms AS waiting,
        row.events AS spans, row.fields AS further
    FROM request_line ARRAY JOIN stage_table AS row
    UNION ALL
    SELECT request_id, attempt, weight, end_ms, true, stage_id, batch_id, batch_size, num_tokens_in,
        num_tokens_out, preprocess_time_ms, stage_gen_time_ms, stage_name, busy_time_ms, queue_time_ms,
        start_ms,
        round(greatest(begin_ms, 0) + first_output_after_ms, 6), time_per_output_token_ms, num_tokens_cached,
        num_tokens_reasoning, outputs, round(greatest(begin_ms, 0) + last_output_after_ms, 6),
        inter_output_mean_ms, inter_output_max_ms, media_ms, underruns, underrun_total_ms, share_time_ms,
        NULL, events, fields
    FROM worker_row WHERE type = 'stage'),
-- The first of a row's outputs, which may come after its `first_output_ms`, and the pause between the outputs
-- of the rows before and it.
paused AS (
    SELECT *, last_output - ifNull(mean_gap, 0) * (chunks - 1) AS chunk,
        chunk - max(last_output) OVER (PARTITION BY request_id, attempt, stage ORDER BY chunk
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS pause
    FROM parts)
SELECT request_id, attempt, weight, stage AS stage_id,
    argMax(batch, at) AS batch_id, argMax(size, at) AS batch_size,
    sum(tokens_in) AS num_tokens_in, sum(tokens_out) AS num_tokens_out,
    round(sum(preprocess), 6) AS preprocess_time_ms, round(sum(gen), 6) AS stage_gen_time_ms,
    argMax(name, at) AS stage_name,
    round(sum(busy), 6) AS busy_time_ms, round(sum(queue), 6) AS queue_time_ms,
    min(start) AS start_ms, min(first_output) AS first_output_ms,
    if(max(detached) AND ifNull(sum(chunks), 0) > 0,
        if(ifNull(sum(tokens_out), 0) > 1,
            round((max(last_output) - min(first_output)) / (sum(tokens_out) - 1), 6), NULL),
        argMin(per_token, at)) AS time_per_output_token_ms,
    sum(cached) AS num_tokens_cached, sum(reasoning) AS num_tokens_reasoning, sum(chunks) AS outputs,
    max(last_output) AS last_output_ms,
    if(ifNull(sum(chunks), 0) > 1, round((max(last_output) - min(chunk)) / (sum(chunks) - 1), 6), NULL)
        AS inter_output_mean_ms,
    round(arrayMax(arrayFilter(gap -> gap IS NOT NULL, [max(max_gap), max(pause)])), 6)
        AS inter_output_max_ms,
    round(sum(media), 6) AS media_ms, round(sum(gen) / nullIf(sum(media), 0), 6) AS real_time_factor,
    sum(silences) AS underruns, round(sum(silence), 6) AS underrun_total_ms,
    -- A row without it has the whole of its time for itself.
    if(count(share) > 0, round(sum(ifNull(share, gen)), 6), NULL) AS share_time_ms,
    sum(waiting) AS waiting_time_ms, sum(spans) AS events,
    arrayFold((known, added) -> JSONMergePatch(known, added.2),
        arraySort(groupArrayIf((at, further), further <> '')), '{}') AS fields,
    max(detached) AS has_detached
FROM paused GROUP BY request_id, attempt, weight, stage;

-- One row a request and edge. `total_time_ms` is the three parts together.
CREATE OR REPLACE VIEW transfer_row AS
WITH parts AS (
    SELECT request_id, attempt, weight, -inf AS at, false AS detached,
        row.from_stage AS sender, row.to_stage AS receiver, row.size_bytes AS bytes, row.tx_time_ms AS tx,
        row.rx_decode_time_ms AS rx,
        row.in_flight_time_ms AS flight, row.total_time_ms AS total, row.start_ms AS start,
        row.events AS spans, row.fields AS further
    FROM request_line ARRAY JOIN transfer_table AS row
    UNION ALL
    SELECT request_id, attempt, weight, end_ms, true, from_stage, to_stage, size_bytes, tx_time_ms,
        rx_decode_time_ms, in_flight_time_ms,
        ifNull(tx_time_ms, 0) + ifNull(rx_decode_time_ms, 0) + ifNull(in_flight_time_ms, 0), start_ms,
        events, fields
    FROM worker_row WHERE type = 'transfer')
SELECT request_id, attempt, weight, sender AS from_stage, receiver AS to_stage, sum(bytes) AS size_bytes,
    round(sum(tx), 6) AS tx_time_ms, round(sum(rx), 6) AS rx_decode_time_ms,
    round(sum(flight), 6) AS in_flight_time_ms, round(sum(total), 6) AS total_time_ms, min(start) AS start_ms,
    sum(spans) AS events,
    arrayFold((known, added) -> JSONMergePatch(known, added.2),
        arraySort(groupArrayIf((at, further), further <> '')), '{}') AS fields,
    max(detached) AS has_detached
FROM parts GROUP BY request_id, attempt, weight, sender, receiver;

-- How much of a request's time rows of workers cover that its own rows do not: gaps and islands. Stretches in
-- order of their begin; each adds what lies past all ends before it. One of a worker begins when its message
-- was sent, and so does one of the request's own transfers that has no sending span.
CREATE OR REPLACE VIEW covered AS
WITH stretches AS (
    SELECT request_id, attempt, true AS is_own, row.start_ms AS since,
        row.start_ms + row.stage_gen_time_ms AS until
    FROM request_line ARRAY JOIN stage_table AS row
    UNION ALL
    SELECT request_id, attempt, true,
        if(row.start_ms IS NULL, NULL, greatest(row.start_ms
            - if(row.tx_time_ms IS NULL, ifNull(row.in_flight_time_ms, 0), 0), 0)),
        row.start_ms + if(row.tx_time_ms IS NULL, ifNull(row.rx_decode_time_ms, 0), row.total_time_ms)
    FROM request_line ARRAY JOIN transfer_table AS row
    UNION ALL
    SELECT request_id, attempt, false, greatest(begin_ms - ifNull(in_flight_time_ms, 0), 0),
        greatest(end_ms, 0)
    FROM worker_row),
known AS (
    SELECT request_id, attempt, is_own, assumeNotNull(since) AS begins, assumeNotNull(until) AS ends,
        max(ends) OVER before AS all_until, maxIf(ends, is_own) OVER before AS own_until
    FROM stretches WHERE until IS NOT NULL
    -- Of no rows at all, the maximum is 0: when the request was created.
    WINDOW before AS (PARTITION BY request_id, attempt ORDER BY begins, ends
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING))
SELECT request_id, attempt, sum(greatest(ends - greatest(begins, all_until), 0))
    - sumIf(greatest(ends - greatest(begins, own_until), 0), is_own) AS covered_ms
FROM known GROUP BY request_id, attempt;

-- One row a request, complete. One without rows of workers is what its line says.
CREATE OR REPLACE VIEW request AS
WITH workers AS (
    SELECT request_id, attempt, count() AS worker_rows, max(timestamp) AS last_end,
        max(end_ms) AS last_end_ms, minIf(toNullable(start_ms), type = 'stage') AS first_start_ms,
        arrayFlatten(arrayMap(row -> row.2, arraySort(groupArray((end_ms, warnings))))) AS added_warnings
    FROM worker_row GROUP BY request_id, attempt),
stages AS (
    SELECT request_id, attempt, sumIf(num_tokens_in, stage_id = 0) AS tokens_in,
        sum(num_tokens_out) AS tokens_out, max(media_ms) AS media
    FROM stage_row GROUP BY request_id, attempt),
transfers AS (
    SELECT request_id, attempt, sum(size_bytes) AS bytes, sum(total_time_ms) AS time_ms
    FROM transfer_row GROUP BY request_id, attempt)
SELECT line.request_id AS request_id, line.attempt AS attempt, line.weight AS weight,
    greatest(line.timestamp, workers.last_end) AS timestamp,
    round(greatest(e2e_table.e2e_total_ms, last_end_ms), 6) AS e2e_total_ms,
    if(worker_rows > 0, ifNull(tokens_in, 0) + ifNull(tokens_out, 0), e2e_table.e2e_total_tokens)
        AS e2e_total_tokens,
    if(worker_rows > 0, round(time_ms, 6), e2e_table.transfers_total_time_ms) AS transfers_total_time_ms,
    if(worker_rows > 0, ifNull(bytes, 0), e2e_table.transfers_total_bytes) AS transfers_total_bytes,
    arrayMin(arrayFilter(time -> time IS NOT NULL, [e2e_table.queue_time_ms, first_start_ms]))
        AS queue_time_ms,
    -- What the end has moved by is nobody's either, but for what the rows cover.
    if(worker_rows > 0, round(greatest(e2e_table.unattributed_time_ms
        + greatest(last_end_ms - e2e_table.e2e_total_ms, 0) - covered_ms, 0), 6),
        e2e_table.unattributed_time_ms) AS unattributed_time_ms,
    if(worker_rows > 0, round(greatest(e2e_table.e2e_total_ms, last_end_ms) / nullIf(media, 0), 6),
        e2e_table.real_time_factor) AS real_time_factor,
    e2e_table.waiting_time_ms AS waiting_time_ms, e2e_table.errors AS errors, e2e_table.error AS error,
    e2e_table.finish_reason AS finish_reason, worker_rows, line.trace_id AS trace_id, line.span_id AS span_id,
    line.fields AS fields, arraySlice(arrayConcat(line.warnings, added_warnings), 1, 16) AS warnings
FROM request_line AS line
    LEFT JOIN workers USING (request_id, attempt) LEFT JOIN stages USING (request_id, attempt)
    LEFT JOIN transfers USING (request_id, attempt) LEFT JOIN covered USING (request_id, attempt)
-- A request without rows finds zeros.
SETTINGS join_use_nulls = 0;
