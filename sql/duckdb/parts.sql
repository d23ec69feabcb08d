-- Where the time of all requests goes, and how much that is of the sum of `e2e_total_ms`. Parts that overlap
-- are counted in full, so the shares need not add up to one. `unattributed` is
-- without `waiting`. DuckDB, after `join.sql`.
WITH whole AS (
    SELECT unnest([
        {place: 0, part: 'e2e', time_ms: sum(e2e_total_ms)},
        {place: 1, part: 'queue', time_ms: coalesce(sum(queue_time_ms), 0)},
        {place: 4, part: 'transfers', time_ms: sum(transfers_total_time_ms)},
        {place: 5, part: 'waiting', time_ms: sum(least(coalesce(waiting_time_ms, 0), unattributed_time_ms))},
        {place: 6, part: 'unattributed',
            time_ms: sum(greatest(unattributed_time_ms - coalesce(waiting_time_ms, 0), 0))}],
        recursive := true), count(waiting_time_ms) AS waits
    FROM request HAVING count(*) > 0),
parts AS (
    SELECT place, NULL AS stage_id, part, time_ms FROM whole WHERE part <> 'waiting' OR waits > 0
    UNION ALL
    SELECT if(stage_id IS NULL, 3, 2), stage_id, 'stage ' || coalesce(stage_id::VARCHAR, '-'),
        coalesce(sum(stage_gen_time_ms), 0)
    FROM stage_row GROUP BY stage_id),
shares AS (
    SELECT *, time_ms / nullif(sum(time_ms) FILTER (place = 0) OVER (), 0) AS share FROM parts)
SELECT part, round(time_ms, 6) AS time_ms, share FROM shares WHERE place > 0 ORDER BY place, stage_id;
