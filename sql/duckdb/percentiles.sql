-- The distributions of `omni-metrics summary`: a row for each number that any request has. DuckDB, after
-- `join.sql`.
--
-- A percentile is the value at the nearest rank, ceil(p * count), which is the rank that the reader takes;
-- the reader is within 1 % of that value, since it keeps histograms. Each value counts as often as its weight
-- says, and `rank` is the sum of the weights up to it; `lines` is how many values there are. `max` can't be
-- weighted: it is the largest value that has a line. For very many rows of a log that is not sampled,
-- `approx_quantile` is cheaper.
WITH numbers AS (
    UNPIVOT (SELECT 'request' AS of, NULL::UBIGINT AS stage_id, NULL::UBIGINT AS from_stage,
            NULL::UBIGINT AS to_stage, weight, e2e_total_ms, queue_time_ms, unattributed_time_ms,
            real_time_factor,
            if(e2e_total_ms > 0, e2e_total_tokens * 1e3 / e2e_total_ms, NULL) AS tokens_per_s
        FROM request)
    ON COLUMNS(* EXCLUDE (of, stage_id, from_stage, to_stage, weight)) INTO NAME number VALUE value
    UNION ALL
    UNPIVOT (SELECT 'stage' AS of, stage_id, NULL::UBIGINT AS from_stage, NULL::UBIGINT AS to_stage,
            weight, stage_gen_time_ms, busy_time_ms, queue_time_ms, first_output_ms, time_per_output_token_ms,
            real_time_factor
        FROM stage_row)
    ON COLUMNS(* EXCLUDE (of, stage_id, from_stage, to_stage, weight)) INTO NAME number VALUE value
    UNION ALL
    UNPIVOT (SELECT 'transfer' AS of, NULL::UBIGINT AS stage_id, from_stage, to_stage, weight,
            tx_time_ms, in_flight_time_ms, rx_decode_time_ms, total_time_ms
        FROM transfer_row)
    ON COLUMNS(* EXCLUDE (of, stage_id, from_stage, to_stage, weight)) INTO NAME number VALUE value),
ranked AS (
    SELECT *, sum(weight) OVER (same ORDER BY value ROWS UNBOUNDED PRECEDING) AS rank,
        sum(weight) OVER same AS total
    FROM numbers WINDOW same AS (PARTITION BY of, stage_id, from_stage, to_stage, number))
SELECT of, stage_id, from_stage, to_stage, number, sum(weight)::UBIGINT AS count,
    sum(value * weight) / sum(weight) AS mean,
    min(value) FILTER (rank * 1000 >= total * 500) AS p50,
    min(value) FILTER (rank * 1000 >= total * 900) AS p90,
    min(value) FILTER (rank * 1000 >= total * 990) AS p99,
    min(value) FILTER (rank * 1000 >= total * 999) AS p999,
    max(value) AS max, count(*) AS lines
FROM ranked GROUP BY of, stage_id, from_stage, to_stage, number
ORDER BY of, stage_id NULLS LAST, from_stage NULLS LAST, to_stage NULLS LAST, number;
