-- The slowest requests, and the part that most of each one's time went into. ClickHouse, after `join.sql`.
--
-- A part is its time, its place in the order in which the reader names parts, its stage and its name; of
-- parts that took as long, the later one is named.
-- Weights do not complete this list: a request that was left out of a sampled log may have been slower, unless
-- the layer keeps all slow requests (`Keep::slower_than`). `weight` is how many requests the line stands for.
WITH firsts AS (
    SELECT stages.request_id AS request_id, stages.attempt AS attempt,
        max(ifNull(stages.waiting_time_ms, 0)) AS first_waiting_ms
    FROM stage_row AS stages INNER JOIN request AS requests
        ON stages.request_id = requests.request_id AND stages.attempt = requests.attempt
    WHERE stages.start_ms = requests.queue_time_ms GROUP BY request_id, attempt),
divided AS (
    SELECT request.*, least(ifNull(waiting_time_ms, 0), unattributed_time_ms) AS waiting_ms,
        greatest(ifNull(queue_time_ms, 0) - ifNull(first_waiting_ms, 0), 0) AS queue_ms,
        round(greatest(unattributed_time_ms - waiting_ms - queue_ms, 0), 6) AS rest_ms
    FROM request LEFT JOIN firsts USING (request_id, attempt)),
stages AS (
    SELECT request_id, attempt, max((ifNull(stage_gen_time_ms, 0), if(stage_id IS NULL, 2, 1),
        ifNull(stage_id, 0), 'stage ' || ifNull(toString(stage_id), '-'))) AS longest
    FROM stage_row GROUP BY request_id, attempt),
slowest AS (
    SELECT * FROM divided
    -- As many as you like.
    ORDER BY e2e_total_ms DESC, request_id DESC, timestamp DESC LIMIT 5)
SELECT request_id, attempt, weight, e2e_total_ms, dominating.4 AS dominating_part,
    dominating.1 AS dominating_time_ms, timestamp
FROM (
    -- A request without stages finds the part of place 0, which lasts as long as none.
    SELECT slowest.*, arrayReverseSort([stages.longest, (round(queue_ms, 6), 3, 0, 'queue'),
        (transfers_total_time_ms, 4, 0, 'transfers'),
        if(waiting_time_ms IS NULL, (0, 0, 0, ''),
            (waiting_ms, 5, 0, 'waiting')),
        (rest_ms, 6, 0, 'unattributed')])[1]
        AS dominating
    FROM slowest LEFT JOIN stages USING (request_id, attempt)
    SETTINGS join_use_nulls = 0)
ORDER BY e2e_total_ms DESC, request_id DESC, timestamp DESC;
