-- Where the time of all requests goes, and how much that is of the sum of `e2e_total_ms`. Parts that overlap
-- are counted in full, so the shares need not add up to one. `queue` is without the waiting for the stage that
-- ended it, `unattributed` without `waiting` and `queue`. Each request counts as often as its weight says.
-- ClickHouse, after `join.sql`.
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
whole AS (
    SELECT sum(e2e_total_ms * weight) AS e2e, sum(queue_ms * weight) AS queue,
        sum(transfers_total_time_ms * weight) AS transfers,
        sum(waiting_ms * weight) AS waiting, sum(rest_ms * weight) AS unattributed,
        count(waiting_time_ms) AS waits
    FROM divided HAVING count() > 0),
parts AS (
    SELECT named.1 AS place, CAST(NULL, 'Nullable(UInt64)') AS stage, named.2 AS part, named.3 AS spent
    FROM whole ARRAY JOIN [(0, 'e2e', e2e), (1, 'queue', queue), (4, 'transfers', transfers),
        (5, 'waiting', waiting), (6, 'unattributed', unattributed)] AS named
    WHERE named.2 <> 'waiting' OR waits > 0
    UNION ALL
    SELECT if(stage_id IS NULL, 3, 2), stage_id, 'stage ' || ifNull(toString(stage_id), '-'),
        sum(ifNull(stage_gen_time_ms, 0) * weight)
    FROM stage_row GROUP BY stage_id),
shares AS (
    SELECT *, spent / nullIf(sumIf(spent, place = 0) OVER (), 0) AS share FROM parts)
SELECT part, round(spent, 6) AS time_ms, share FROM shares WHERE place > 0 ORDER BY place, stage;
