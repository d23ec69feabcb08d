-- The slowest requests, and the part that most of each one's time went into. DuckDB, after `join.sql`.
--
-- `place` is the order in which the reader names parts; of parts that took as long, the later one is named.
WITH stages AS (
    SELECT request_id, attempt, max({time_ms: coalesce(stage_gen_time_ms, 0),
        place: if(stage_id IS NULL, 2, 1), stage: coalesce(stage_id, 0),
        part: 'stage ' || coalesce(stage_id::VARCHAR, '-')}) AS longest
    FROM stage_row GROUP BY request_id, attempt),
slowest AS (
    -- As many as you like.
    FROM request ORDER BY e2e_total_ms DESC, request_id DESC, timestamp DESC LIMIT 5),
parts AS (
    SELECT slowest.*, list_max(list_filter([longest,
        {time_ms: coalesce(queue_time_ms, 0), place: 3, stage: 0, part: 'queue'},
        {time_ms: transfers_total_time_ms, place: 4, stage: 0, part: 'transfers'},
        if(waiting_time_ms IS NULL, NULL,
            {time_ms: least(waiting_time_ms, unattributed_time_ms), place: 5, stage: 0, part: 'waiting'}),
        {time_ms: round(greatest(unattributed_time_ms - coalesce(waiting_time_ms, 0), 0), 6), place: 6,
            stage: 0, part: 'unattributed'}],
        lambda part: part IS NOT NULL)) AS dominating
    FROM slowest LEFT JOIN stages USING (request_id, attempt))
SELECT request_id, attempt, e2e_total_ms, dominating.part AS dominating_part,
    dominating.time_ms AS dominating_time_ms, timestamp
FROM parts ORDER BY e2e_total_ms DESC, request_id DESC, timestamp DESC;
