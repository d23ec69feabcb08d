-- The slowest requests, and the part that most of each one's time went into. DuckDB, after `join.sql`.
--
-- `place` is the order in which the reader names parts; of parts that took as long, the later one is named.
-- Weights do not complete this list: a request that was left out of a sampled log may have been slower, unless
-- the layer keeps all slow requests (`Keep::slower_than`). `weight` is how many requests the line stands for.
WITH firsts AS (
    SELECT request_id, attempt, max(stage_row.waiting_time_ms) AS first_waiting_ms
    FROM stage_row JOIN request USING (request_id, attempt)
    WHERE stage_row.start_ms = request.queue_time_ms GROUP BY request_id, attempt),
divided AS (
    -- `least` passes over a NULL.
    SELECT request.* REPLACE (if(request.waiting_time_ms IS NULL, NULL,
            least(request.waiting_time_ms, unattributed_time_ms)) AS waiting_time_ms),
        greatest(coalesce(queue_time_ms, 0) - coalesce(first_waiting_ms, 0), 0) AS queue_ms,
        round(greatest(unattributed_time_ms - coalesce(request.waiting_time_ms, 0) - queue_ms, 0), 6) AS rest_ms
    FROM request LEFT JOIN firsts USING (request_id, attempt)),
stages AS (
    SELECT request_id, attempt, max({time_ms: coalesce(stage_gen_time_ms, 0),
        place: if(stage_id IS NULL, 2, 1), stage: coalesce(stage_id, 0),
        part: 'stage ' || coalesce(stage_id::VARCHAR, '-')}) AS longest
    FROM stage_row GROUP BY request_id, attempt),
slowest AS (
    -- As many as you like.
    FROM divided ORDER BY e2e_total_ms DESC, request_id DESC, timestamp DESC LIMIT 5),
parts AS (
    SELECT slowest.*, list_max(list_filter([longest,
        {time_ms: round(queue_ms, 6), place: 3, stage: 0, part: 'queue'},
        {time_ms: transfers_total_time_ms, place: 4, stage: 0, part: 'transfers'},
        if(waiting_time_ms IS NULL, NULL,
            {time_ms: waiting_time_ms, place: 5, stage: 0, part: 'waiting'}),
        {time_ms: rest_ms, place: 6, stage: 0, part: 'unattributed'}],
        lambda part: part IS NOT NULL)) AS dominating
    FROM slowest LEFT JOIN stages USING (request_id, attempt))
SELECT request_id, attempt, weight, e2e_total_ms, dominating.part AS dominating_part,
    dominating.time_ms AS dominating_time_ms, timestamp
FROM parts ORDER BY e2e_total_ms DESC, request_id DESC, timestamp DESC;
