"""What `omni-metrics summary` and `check` compute, as a loop over `json` lines in Python."""

import collections
import heapq
import json
import sys


def summary(lines):
    series = collections.defaultdict(list)
    parts = collections.Counter()
    reasons = collections.Counter()
    slowest = []
    tokens = 0
    for line in lines:
        if line["type"] != "request":
            continue
        e2e = line["e2e_table"]
        total = e2e["e2e_total_ms"]
        tokens += e2e["e2e_total_tokens"]
        series["e2e"].append(total)
        series["unattributed"].append(e2e["unattributed_time_ms"])
        if e2e["queue_time_ms"] is not None:
            series["queue"].append(e2e["queue_time_ms"])
        if total > 0:
            series["tokens_per_s"].append(e2e["e2e_total_tokens"] * 1000 / total)
        reasons[e2e.get("finish_reason", "none")] += 1
        here = {
            "queue": e2e["queue_time_ms"] or 0,
            "transfers": e2e["transfers_total_time_ms"],
            "unattributed": e2e["unattributed_time_ms"],
        }
        for row in line["stage_table"]:
            stage = row["stage_id"]
            here[stage] = row["stage_gen_time_ms"] or 0
            for key in ("stage_gen_time_ms", "busy_time_ms", "queue_time_ms", "first_output_ms", "time_per_output_token_ms"):
                value = row.get(key)
                if value is not None:
                    series[stage, key].append(value)
        for row in line["transfer_table"]:
            edge = row["from_stage"], row["to_stage"]
            for key in ("tx_time_ms", "in_flight_time_ms", "rx_decode_time_ms", "total_time_ms"):
                value = row.get(key)
                if value is not None:
                    series[edge, key].append(value)
        parts.update(here)
        slow = (total, line["request_id"], max(here, key=here.get))
        if len(slowest) < 5:
            heapq.heappush(slowest, slow)
        else:
            heapq.heappushpop(slowest, slow)
    print(tokens, parts, reasons, sorted(slowest, reverse=True))
    for name, values in series.items():
        values.sort()
        at = [values[max(-(-len(values) * permille // 1000), 1) - 1] for permille in (500, 900, 990, 999, 1000)]
        print(name, len(values), sum(values) / len(values), *at)


def check(lines):
    violations = 0
    seen = set()
    for line in lines:
        if line["type"] != "request":
            continue
        run, e2e = line["overall_summary"], line["e2e_table"]
        stages, transfers = line["stage_table"], line["transfer_table"]
        seen.add(run["e2e_requests"])
        wall = run["e2e_wall_time_ms"]
        tokens = sum(row["num_tokens_out"] or 0 for row in stages)
        tokens += next((row["num_tokens_in"] or 0 for row in stages if row["stage_id"] == 0), 0)
        violations += line["schema"] != 1
        violations += abs(run["e2e_avg_time_per_request_ms"] - wall / run["e2e_requests"]) > 1e-6
        rate = run["e2e_total_tokens"] * 1000 / wall if wall else 0
        violations += abs(run["e2e_avg_tokens_per_s"] - rate) > 1e-6 + rate * 1e-12
        violations += tokens != e2e["e2e_total_tokens"]
        violations += sum(row["size_bytes"] or 0 for row in transfers) != e2e["transfers_total_bytes"]
        time = sum(row["total_time_ms"] for row in transfers)
        violations += abs(time - e2e["transfers_total_time_ms"]) > 1e-6
        violations += e2e["unattributed_time_ms"] > e2e["e2e_total_ms"]
        violations += [row["stage_id"] for row in stages] != sorted(row["stage_id"] for row in stages)
        for row in stages:
            violations += (row["preprocess_time_ms"] or 0) > row["stage_gen_time_ms"]
            violations += (row["busy_time_ms"] or 0) > row["stage_gen_time_ms"]
        for row in transfers:
            time = (row["tx_time_ms"] or 0) + (row["rx_decode_time_ms"] or 0) + (row["in_flight_time_ms"] or 0)
            violations += abs(time - row["total_time_ms"]) > 1e-6
    violations += len(seen) != max(seen)
    print(violations)


with open(sys.argv[2], encoding="utf-8") as log:
    {"summary": summary, "check": check}[sys.argv[1]](map(json.loads, log))
