-- The distributions of `omni-metrics summary`: a row for each number that any request has. DuckDB, after
-- `join.sql`.
--
-- `quantile_disc` takes the value at the nearest rank, ceil(p * count), which is the rank that the reader
-- takes; the reader is within 1 % of that value, since it keeps histograms. For very many rows,
-- `approx_quantile` is cheaper.
WITH numbers AS (
    UNPIVOT (SELECT 'request' AS of, NULL::UBIGINT AS stage_id, NULL::UBIGINT AS from_stage,
            NULL::UBIGINT AS to_stage, e2e_total_ms, queue_time_ms, unattributed_time_ms, real_time_factor,
            if(e2e_total_ms > 0, e2e_total_tokens * 1e3 / e2e_total_ms, NULL) AS tokens_per_s
        FROM request)
    ON COLUMNS(* EXCLUDE (of, stage_id, from_stage, to_stage)) INTO NAME number VALUE value
    UNION ALL
    UNPIVOT (SELECT 'stage' AS of, stage_id, NULL::UBIGINT AS from_stage, NULL::UBIGINT AS to_stage,
            stage_gen_time_ms, busy_time_ms, queue_time_ms, first_output_ms, time_per_output_token_ms,
            real_time_factor
        FROM stage_row)
    ON COLUMNS(* EXCLUDE (of, stage_id, from_stage, to_stage)) INTO NAME number VALUE value
    UNION ALL
    UNPIVOT (SELECT 'transfer' AS of, NULL::UBIGINT AS stage_id, from_stage, to_stage,
            tx_time_ms, in_flight_time_ms, rx_decode_time_ms, total_time_ms
        FROM transfer_row)
    ON COLUMNS(* EXCLUDE (of, stage_id, from_stage, to_stage)) INTO NAME number VALUE value)
SELECT of, stage_id, from_stage, to_stage, number, count(*) AS count, avg(value) AS mean,
    quantile_disc(value, 0.5) AS p50, quantile_disc(value, 0.9) AS p90, quantile_disc(value, 0.99) AS p99,
    quantile_disc(value, 0.999) AS p999, max(value) AS max
FROM numbers GROUP BY of, stage_id, from_stage, to_stage, number
ORDER BY of, stage_id NULLS LAST, from_stage NULLS LAST, to_stage NULLS LAST, number;
