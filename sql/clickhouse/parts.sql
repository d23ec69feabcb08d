-- Where the time of all requests goes, and how much that is of the sum of `e2e_total_ms`. Parts that overlap
-- are counted in full, so the shares need not add up to one. `unattributed` is
-- without `waiting`. ClickHouse, after `join.sql`.
WITH whole AS (
    SELECT sum(e2e_total_ms) AS e2e, sum(ifNull(queue_time_ms, 0)) AS queue,
        sum(transfers_total_time_ms) AS transfers,
        sum(least(ifNull(waiting_time_ms, 0), unattributed_time_ms)) AS waiting,
        sum(greatest(unattributed_time_ms - ifNull(waiting_time_ms, 0), 0)) AS unattributed,
        count(waiting_time_ms) AS waits
    FROM request HAVING count() > 0),
parts AS (
    SELECT named.1 AS place, CAST(NULL, 'Nullable(UInt64)') AS stage, named.2 AS part, named.3 AS spent
    FROM whole ARRAY JOIN [(0, 'e2e', e2e), (1, 'queue', queue), (4, 'transfers', transfers),
        (5, 'waiting', waiting), (6, 'unattributed', unattributed)] AS named
    WHERE named.2 <> 'waiting' OR waits > 0
    UNION ALL
    SELECT if(stage_id IS NULL, 3, 2), stage_id, 'stage ' || ifNull(toString(stage_id), '-'),
        sum(ifNull(stage_gen_time_ms, 0))
    FROM stage_row GROUP BY stage_id),
shares AS (
    SELECT *, spent / nullIf(sumIf(spent, place = 0) OVER (), 0) AS share FROM parts)
SELECT part, round(spent, 6) AS time_ms, share FROM shares WHERE place > 0 ORDER BY place, stage;
