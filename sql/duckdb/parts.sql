-- Where the time of all requests goes, and how much that is of the sum of `e2e_total_ms`. Parts that overlap
-- are counted in full, so the shares need not add up to one. `queue` is without the waiting for the stage that
-- ended it, `unattributed` without `waiting` and `queue`. Each request counts as often as its weight says.
-- DuckDB, after `join.sql`.
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
whole AS (
    SELECT unnest([
        {place: 0, part: 'e2e', time_ms: sum(e2e_total_ms * weight)},
        {place: 1, part: 'queue', time_ms: sum(queue_ms * weight)},
        {place: 4, part: 'transfers', time_ms: sum(transfers_total_time_ms * weight)},
        {place: 5, part: 'waiting', time_ms: coalesce(sum(waiting_time_ms * weight), 0)},
        {place: 6, part: 'unattributed', time_ms: sum(rest_ms * weight)}],
        recursive := true), count(waiting_time_ms) AS waits
    FROM divided HAVING count(*) > 0),
parts AS (
    SELECT place, NULL AS stage_id, part, time_ms FROM whole WHERE part <> 'waiting' OR waits > 0
    UNION ALL
    SELECT if(stage_id IS NULL, 3, 2), stage_id, 'stage ' || coalesce(stage_id::VARCHAR, '-'),
        coalesce(sum(stage_gen_time_ms * weight), 0)
    FROM stage_row GROUP BY stage_id),
shares AS (
    SELECT *, time_ms / nullif(sum(time_ms) FILTER (place = 0) OVER (), 0) AS share FROM parts)
SELECT part, round(time_ms, 6) AS time_ms, share FROM shares WHERE place > 0 ORDER BY place, stage_id;
