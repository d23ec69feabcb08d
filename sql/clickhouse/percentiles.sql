-- The distributions of `omni-metrics summary`: a row for each number that any request has. ClickHouse, after
-- `join.sql`.
--
-- A percentile is the value at the nearest rank, ceil(p * count), which is the rank that the reader takes;
-- the reader is within 1 % of that value, since it keeps histograms. The rank of `quantileExact` may be one
-- higher. For very many rows, `quantilesTDigest` is cheaper.
WITH numbers AS (
    SELECT 'request' AS of, CAST(NULL, 'Nullable(UInt64)') AS stage_id,
        CAST(NULL, 'Nullable(UInt64)') AS from_stage, CAST(NULL, 'Nullable(UInt64)') AS to_stage,
        pair.1 AS number, pair.2 AS value
    FROM request ARRAY JOIN [('e2e_total_ms', toNullable(e2e_total_ms)), ('queue_time_ms', queue_time_ms),
        ('unattributed_time_ms', unattributed_time_ms), ('real_time_factor', real_time_factor),
        ('tokens_per_s', if(e2e_total_ms > 0, e2e_total_tokens * 1e3 / e2e_total_ms, NULL))] AS pair
    UNION ALL
    SELECT 'stage', stage_id, NULL, NULL, pair.1, pair.2
    FROM stage_row ARRAY JOIN [('stage_gen_time_ms', stage_gen_time_ms), ('busy_time_ms', busy_time_ms),
        ('queue_time_ms', queue_time_ms), ('first_output_ms', first_output_ms),
        ('time_per_output_token_ms', time_per_output_token_ms),
        ('real_time_factor', real_time_factor)] AS pair
    UNION ALL
    SELECT 'transfer', NULL, from_stage, to_stage, pair.1, pair.2
    FROM transfer_row ARRAY JOIN [('tx_time_ms', tx_time_ms), ('in_flight_time_ms', in_flight_time_ms),
        ('rx_decode_time_ms', rx_decode_time_ms), ('total_time_ms', toNullable(total_time_ms))] AS pair),
sorted AS (
    SELECT of, stage_id, from_stage, to_stage, number, count() AS count, avg(assumeNotNull(value)) AS mean,
        arraySort(groupArray(assumeNotNull(value))) AS ranks
    FROM numbers WHERE value IS NOT NULL
    GROUP BY of, stage_id, from_stage, to_stage, number)
SELECT of, stage_id, from_stage, to_stage, number, count, mean,
    ranks[intDiv(count * 500 + 999, 1000)] AS p50, ranks[intDiv(count * 900 + 999, 1000)] AS p90,
    ranks[intDiv(count * 990 + 999, 1000)] AS p99, ranks[intDiv(count * 999 + 999, 1000)] AS p999,
    ranks[count] AS max
FROM sorted
ORDER BY of, stage_id, from_stage, to_stage, number;
