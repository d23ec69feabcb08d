-- The distributions of `omni-metrics summary`: a row for each number that any request has. ClickHouse, after
-- `join.sql`.
--
-- A percentile is the value at the nearest rank, ceil(p * count), which is the rank that the reader takes;
-- the reader is within 1 % of that value, since it keeps histograms. Each value counts as often as its weight
-- says; `lines` is how many values there are. `max` can't be weighted: it is the largest value that has a
-- line. The mean is computed, since `avgWeighted` of ClickHouse 26.9 cuts values to integers. For very many
-- rows, `quantilesTDigestWeighted` is cheaper.
WITH numbers AS (
    SELECT 'request' AS of, CAST(NULL, 'Nullable(UInt64)') AS stage_id,
        CAST(NULL, 'Nullable(UInt64)') AS from_stage, CAST(NULL, 'Nullable(UInt64)') AS to_stage,
        weight, pair.1 AS number, pair.2 AS value
    FROM request ARRAY JOIN [('e2e_total_ms', toNullable(e2e_total_ms)), ('queue_time_ms', queue_time_ms),
        ('unattributed_time_ms', unattributed_time_ms), ('real_time_factor', real_time_factor),
        ('tokens_per_s', if(e2e_total_ms > 0, e2e_total_tokens * 1e3 / e2e_total_ms, NULL))] AS pair
    UNION ALL
    SELECT 'stage', stage_id, NULL, NULL, weight, pair.1, pair.2
    FROM stage_row ARRAY JOIN [('stage_gen_time_ms', stage_gen_time_ms), ('busy_time_ms', busy_time_ms),
        ('queue_time_ms', queue_time_ms), ('first_output_ms', first_output_ms),
        ('time_per_output_token_ms', time_per_output_token_ms),
        ('real_time_factor', real_time_factor)] AS pair
    UNION ALL
    SELECT 'transfer', NULL, from_stage, to_stage, weight, pair.1, pair.2
    FROM transfer_row ARRAY JOIN [('tx_time_ms', tx_time_ms), ('in_flight_time_ms', in_flight_time_ms),
        ('rx_decode_time_ms', rx_decode_time_ms), ('total_time_ms', toNullable(total_time_ms))] AS pair),
distributions AS (
    SELECT of, stage_id, from_stage, to_stage, number, sum(weight) AS count,
        sum(assumeNotNull(value) * weight) / sum(weight) AS mean,
        quantilesExactWeighted(0.5, 0.9, 0.99, 0.999)(assumeNotNull(value), weight) AS quantiles,
        max(assumeNotNull(value)) AS max, count() AS lines
    FROM numbers WHERE value IS NOT NULL
    GROUP BY of, stage_id, from_stage, to_stage, number)
SELECT of, stage_id, from_stage, to_stage, number, count, mean, quantiles[1] AS p50, quantiles[2] AS p90,
    quantiles[3] AS p99, quantiles[4] AS p999, max, lines
FROM distributions
ORDER BY of, stage_id, from_stage, to_stage, number;
