"""Compares what the files in sql/ make of logs, on DuckDB and on ClickHouse, with what the reader does."""

import bisect
import copy
import datetime
import gzip
import json
import math
import pathlib
import random
import re
import shutil
import subprocess
import sys
import time

import duckdb
from chdb import session

TARGET = pathlib.Path(sys.argv[1]).resolve()
WORK = pathlib.Path(sys.argv[2]).resolve()
READER = TARGET / "omni-metrics"
# With a limit that is set, times alone decide which request a row belongs to, as in the views.
JOIN = [READER, "join", "--max-offset", "1m"]
EXAMPLES = TARGET / "examples"
SQL = pathlib.Path("sql")
QUERIES = ["percentiles", "slowest", "parts"]
KINDS = ["request", "stage", "transfer"]

# The reader counts whole nanoseconds; SQL rounds sums of floats to them, and so may be off by one. Averages are
# cut to whole nanoseconds by the reader. Rates are cut to thousandths, and so is the average of what was cut. A
# mean gap between outputs is computed from other means. Ratios have six decimals.
NANO = 1.5e-6
MEAN = 2.5e-6
MILLIONTH = 1.5e-6
THOUSANDTH = 2e-3
# Of more simulated requests than these, only the figures are compared, not each request.
LARGE = 20_000
# The documented error of the reader's percentiles.
PERCENTILE = 0.01

E2E = ["e2e_total_ms", "e2e_total_tokens", "transfers_total_time_ms", "transfers_total_bytes", "queue_time_ms",
       "unattributed_time_ms", "real_time_factor", "errors", "error", "finish_reason"]
STAGE = ["batch_id", "batch_size", "num_tokens_in", "num_tokens_out", "preprocess_time_ms", "stage_gen_time_ms",
         "stage_name", "busy_time_ms", "queue_time_ms", "start_ms", "first_output_ms", "time_per_output_token_ms",
         "num_tokens_cached", "num_tokens_reasoning", "outputs", "last_output_ms", "inter_output_mean_ms",
         "inter_output_max_ms", "media_ms", "real_time_factor", "share_time_ms", "events"]
# What the reader alone knows of a request with rows of workers: when each of them waited and played.
OWN_E2E = ["waiting_time_ms"]
OWN_STAGE = ["waiting_time_ms", "underruns", "underrun_total_ms"]
EDGE = ["size_bytes", "tx_time_ms", "rx_decode_time_ms", "in_flight_time_ms", "total_time_ms", "start_ms", "events"]

passed = 0


def ok(what):
    global passed
    passed += 1
    print(f"ok  {what}", flush=True)


def same(what, expected, found, within=0.0):
    if within and None not in (expected, found):
        assert abs(expected - found) <= within, f"{what}: expected {expected!r}, found {found!r}"
    else:
        assert expected == found, f"{what}: expected {expected!r}, found {found!r}"


def run(*command, **options):
    return subprocess.run([*map(str, command)], check=True, capture_output=True, text=True, **options)


def statements(path):
    text = re.sub(r"--.*", "", path.read_text())
    return [statement for statement in text.split(";") if statement.strip()]


class Duck:
    """Reads the logs as they are."""

    name = "DuckDB"

    def __init__(self, logs, is_large=False):
        self.connection = duckdb.connect()
        self.connection.execute("SET VARIABLE logs = ?", [[str(log) for log in logs]])
        for name in ["schema", "join"]:
            self.connection.execute((SQL / "duckdb" / f"{name}.sql").read_text())

    def rows(self, query):
        cursor = self.connection.execute(query)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row)) for row in cursor.fetchall()]

    def file(self, name):
        return self.rows((SQL / "duckdb" / f"{name}.sql").read_text())

    def close(self):
        self.connection.close()


class Click:
    """Gets what a shipper would send: the objects that say that they are ours, some of them more than once."""

    name = "ClickHouse"
    session = None
    cases = 0

    def __init__(self, logs, is_large=False):
        Click.session = Click.session or session.Session()
        Click.cases += 1
        self.session.query(f"CREATE DATABASE case_{self.cases}")
        self.session.query(f"USE case_{self.cases}")
        self.every("schema")
        for file in logs if is_large else self.shipped(logs):
            self.session.query(
                f"INSERT INTO lines FROM INFILE '{file}' SETTINGS date_time_input_format = 'best_effort',"
                " input_format_skip_unknown_fields = 1 FORMAT JSONEachRow")
        self.every("join")

    @staticmethod
    def shipped(logs):
        ours = [line for log in logs for line in lines_of(log) if is_ours(line)]
        shipped, again = WORK / "shipped.jsonl", WORK / "again.shipped"
        shipped.write_bytes(b"".join(line + b"\n" for line in ours))
        # A shipper that has not heard back sends again, and another one writes JSON in another way.
        again.write_text("".join(json.dumps(json.loads(line), sort_keys=True) + "\n" for line in ours[::-1]))
        return [shipped, shipped, again]

    def every(self, name):
        return [self.session.query(statement, "JSONEachRow")
                for statement in statements(SQL / "clickhouse" / f"{name}.sql")][-1]

    def rows(self, query):
        return [json.loads(line) for line in self.session.query(query, "JSONEachRow").bytes().splitlines()]

    def file(self, name):
        return [json.loads(line) for line in self.every(name).bytes().splitlines()]

    def close(self):
        self.session.query(f"DROP DATABASE case_{self.cases}")


def lines_of(log):
    data = log.read_bytes()
    return (gzip.decompress(data) if log.suffix == ".gz" else data).split(b"\n")


def is_ours(line):
    try:
        line = json.loads(line)
    except ValueError:
        return False
    return isinstance(line, dict) and line.get("type") in KINDS and "schema" in line


def micros(timestamp):
    if not isinstance(timestamp, datetime.datetime):
        timestamp = datetime.datetime.fromisoformat(timestamp.removesuffix("Z"))
    return (timestamp - datetime.datetime(1970, 1, 1)) // datetime.timedelta(microseconds=1)


def compare_columns(what, columns, expected, found):
    for column in columns:
        within = NANO if column.endswith("_ms") else 0
        if column in ["inter_output_mean_ms", "time_per_output_token_ms"]:
            within = MEAN
        if column == "real_time_factor":
            within = MILLIONTH + 1e-6 * (expected.get(column) or 0)
        same(f"{what}: {column}", expected.get(column), found[column], within)


def fields(found):
    return json.loads(found or "{}")


def fields_of(row):
    """Those that the views have: without the ones that `join` adds."""
    added = ["log_file", "e2e_before_join_ms"]
    return {name: value for name, value in row.get("fields", {}).items() if name not in added}


def attempts(logs):
    """(request_id, attempt) of every request, in the order in which the reader takes and writes them."""
    own = [json.loads(line) for log in logs for line in lines_of(log) if is_ours(line)]
    own = [line for line in own if line["type"] == "request"]
    in_time = sorted(own, key=lambda line: (line["timestamp"], line["e2e_table"]["e2e_total_ms"]))
    seen, numbers = {}, {}
    for line in in_time:
        seen[line["request_id"]] = numbers[id(line)] = seen.get(line["request_id"], 0) + 1
    return [(line["request_id"], numbers[id(line)]) for line in own]


def compare_requests(joined, keys, database):
    """Every request, with its rows."""
    found = {(row["request_id"], row["attempt"]): row for row in database.rows("SELECT * FROM request")}
    same("requests", sorted(keys), sorted(found))
    tables = {}
    for view, ids in [("stage_row", ["stage_id"]), ("transfer_row", ["from_stage", "to_stage"])]:
        for row in database.rows(f"SELECT * FROM {view}"):
            rows = tables.setdefault((view, row["request_id"], row["attempt"]), {})
            rows[tuple(row[key] for key in ids)] = row
    for key, line in zip(keys, joined, strict=True):
        what = f"{database.name}, request {key}"
        row = found[key]
        compare_columns(what, E2E, line["e2e_table"], row)
        if not row["worker_rows"]:
            compare_columns(what, OWN_E2E, line["e2e_table"], row)
        same(f"{what}: timestamp", micros(line["timestamp"]), micros(row["timestamp"]))
        same(f"{what}: warnings", sorted(line.get("warnings", [])), sorted(row["warnings"] or []))
        same(f"{what}: trace_id", line.get("trace_id"), row["trace_id"])
        same(f"{what}: weight", weight(line), row["weight"])
        same(f"{what}: fields", fields_of(line), fields(row["fields"]))
        for view, table, ids, columns in [("stage_row", "stage_table", ["stage_id"], STAGE),
                                          ("transfer_row", "transfer_table", ["from_stage", "to_stage"], EDGE)]:
            rows = tables.get((view, *key), {})
            expected = {tuple(row[key] for key in ids): row for row in line[table]}
            same(f"{what}: {table}", set(expected), set(rows))
            for ids, row in expected.items():
                compare_columns(f"{what}: {table} {ids}", columns, row, rows[ids])
                if view == "stage_row" and not found[key]["worker_rows"]:
                    compare_columns(f"{what}: {table} {ids}", OWN_STAGE, row, rows[ids])
                same(f"{what}: {table} {ids}: fields", fields_of(row), fields(rows[ids]["fields"]))


def distributions(percentiles):
    """The reader's, by the key of a row of percentiles.sql."""
    found = {}
    for number in ["e2e_total_ms", "queue_time_ms", "unattributed_time_ms", "real_time_factor", "tokens_per_s"]:
        found["request", None, None, None, number] = percentiles.get(number)
    for stage in percentiles["stages"]:
        stage_id = stage.pop("stage_id")
        found |= {("stage", stage_id, None, None, number): values for number, values in stage.items()}
    for edge in percentiles["transfers"]:
        ends = edge.pop("from_stage"), edge.pop("to_stage")
        found |= {("transfer", None, *ends, number): values for number, values in edge.items()}
    return {key: values for key, values in found.items() if values}


def weight(line):
    """How many requests a line stands for."""
    return max(line.get("sample_rate") or 1, 1)


def values_of(joined, key):
    """All values of a number in the joined lines, each as often as its line says."""
    of, stage_id, from_stage, to_stage, number = key
    if number == "tokens_per_s":
        tables = [(line["e2e_table"], weight(line)) for line in joined]
        rows = [({number: table["e2e_total_tokens"] * 1e3 / table["e2e_total_ms"]}, weight) for table, weight in tables
                if table["e2e_total_ms"]]
    elif of == "request":
        rows = [(line["e2e_table"], weight(line)) for line in joined]
    elif of == "stage":
        rows = [(row, weight(line)) for line in joined for row in line["stage_table"] if row["stage_id"] == stage_id]
    else:
        rows = [(row, weight(line)) for line in joined for row in line["transfer_table"]
                if (row["from_stage"], row["to_stage"]) == (from_stage, to_stage)]
    return [(row[number], weight) for row, weight in rows if row.get(number) is not None]


def at_rank(values, rank):
    """The value at a rank, of sorted values with weights."""
    for value, weight in values:
        rank -= weight
        if rank <= 0:
            return value


def compare_percentiles(joined, summary, database):
    expected = distributions(copy.deepcopy(summary["percentiles"]))
    found = {}
    for row in database.file("percentiles"):
        found[row["of"], row["stage_id"], row["from_stage"], row["to_stage"], row["number"]] = row
    same("numbers with a distribution", set(expected), set(found))
    for key, reader in expected.items():
        what, row = f"{database.name}, {key}", found[key]
        within = THOUSANDTH if key[-1] == "tokens_per_s" else NANO
        if key[-1] == "time_per_output_token_ms":
            within = MEAN
        if key[-1] == "real_time_factor":
            within = MILLIONTH + 1e-6 * reader["max"]
        values = None
        if joined[0]:
            values = sorted(values_of(joined, key))
            total = sum(weight for _, weight in values)
            same(f"{what}: lines", len(values), row["lines"])
            same(f"{what}: count by the lines", total, row["count"])
            mean = sum(value * weight for value, weight in values) / total
            same(f"{what}: mean by the lines", mean, row["mean"], within + 1e-12 * mean)
        same(f"{what}: count", reader["count"], row["count"])
        same(f"{what}: mean", reader["mean"], row["mean"], within)
        same(f"{what}: max", reader["max"], row["max"], within)
        for name, permille in [("p50", 500), ("p90", 900), ("p99", 990), ("p999", 999)]:
            # Both take the nearest rank. SQL has the value there, the reader the middle of its bucket.
            if values:
                same(f"{what}: {name}", at_rank(values, -(-total * permille // 1000)), row[name], within)
            same(f"{what}: {name} of the reader", reader[name], row[name], PERCENTILE * row[name] + within)


def compare_slowest(summary, database):
    found = database.file("slowest")
    completed = database.rows("SELECT request_id, attempt FROM request WHERE worker_rows > 0")
    completed = {(row["request_id"], row["attempt"]) for row in completed}
    same("slowest", [row["request_id"] for row in summary["slowest"]], [row["request_id"] for row in found])
    for reader, row in zip(summary["slowest"], found, strict=True):
        what = f"{database.name}, slowest, {row['request_id']}"
        same(f"{what}: ended", micros(reader["timestamp"]), micros(row["timestamp"]))
        compare_columns(what, ["e2e_total_ms"], reader, row)
        # How much of the time is waiting, the reader alone knows of a request with rows of workers.
        parts = {reader["dominating_part"], row["dominating_part"]}
        if (row["request_id"], row["attempt"]) not in completed or not parts & WAITS:
            compare_columns(what, ["dominating_part", "dominating_time_ms"], reader, row)


# Parts that depend on when the rows of a request waited. The numbers that they come from are compared by request.
WAITS = {"queue", "waiting", "unattributed"}


def compare_parts(summary, database):
    expected, found = summary["shares_of_e2e"], database.file("parts")
    if any(row["worker_rows"] for row in database.rows("SELECT worker_rows FROM request")):
        expected, found = ([part for part in parts if part["part"] not in WAITS] for parts in (expected, found))
    same("parts", [row["part"] for row in expected], [row["part"] for row in found])
    for reader, row in zip(expected, found, strict=True):
        what = f"{database.name}, {row['part']}"
        same(f"{what}: time_ms", reader["time_ms"], row["time_ms"], NANO + 1e-12 * reader["time_ms"])
        same(f"{what}: share", reader["share"], row["share"], 1e-9)


def complete(logs):
    return [json.loads(line) for line in run(*JOIN, *logs).stdout.splitlines()]


def compare(what, logs, is_large=False):
    """Both databases with the reader, over the same logs. In large ones, which have lines of ours only, not every
    request, but the figures of all."""
    complete = WORK / "complete.jsonl"
    with complete.open("w") as out:
        join = subprocess.run([*JOIN, *logs], check=True, stdout=out, stderr=subprocess.PIPE, text=True)
    with complete.open() as lines:
        joined = [None if is_large else json.loads(line) for line in lines]
    lost = {id: int(rows) for id, rows in re.findall(r"request (\S+): (\d+) rows?, but no line", join.stderr)}
    nameless = re.search(r"(\d+) rows? names? no request", join.stderr)
    if nameless:
        lost[None] = int(nameless[1])
    # The reader refuses a log without a line.
    summary = json.loads(run(READER, "summary", "--json", complete).stdout) if joined else None
    keys = None if is_large else attempts(logs)
    for kind in [Duck, Click]:
        began = time.monotonic()
        database = kind(logs, is_large)
        if is_large:
            print(f"    {kind.name}: loaded in {time.monotonic() - began:.0f} s", flush=True)
        else:
            compare_requests(joined, keys, database)
            found = database.rows("SELECT * FROM lost_row")
            same("rows without a request", lost, {row["request_id"]: row["lost_rows"] for row in found})
        if summary:
            compare_percentiles(joined, summary, database)
            compare_slowest(summary, database)
            compare_parts(summary, database)
        same("requests", len(joined), database.rows("SELECT count(*) AS n FROM request")[0]["n"])
        rows = database.rows("SELECT sum(worker_rows) AS n FROM request")[0]["n"]
        database.close()
        ok(f"{what}, {kind.name}: {len(joined)} requests, {rows or 0} rows of workers, {sum(lost.values())} lost")


# Of late: the table in ClickHouse drops what is older than its TTL, on arrival too.
START = datetime.datetime.now().replace(microsecond=0) - datetime.timedelta(days=3)


def line(kind, request_id, end_us, **keys):
    """A line that ends so many microseconds after `START`."""
    timestamp = (START + datetime.timedelta(microseconds=end_us)).isoformat(timespec="microseconds") + "Z"
    return {"type": kind, "schema": 1, "timestamp": timestamp, "request_id": request_id, **keys}


OVERALL = {"e2e_requests": 1, "e2e_wall_time_ms": 1.0, "e2e_total_tokens": 0, "e2e_avg_time_per_request_ms": 1.0,
           "e2e_avg_tokens_per_s": 0.0, "stage_wall_time_ms": []}


def request(request_id, end_us, e2e_ms, stages=(), transfers=(), unattributed_ms=None, queue_ms=None, waiting_ms=None,
            errors=None, error=None, **keys):
    stages = sorted(stages, key=lambda row: (row["stage_id"] is None, row["stage_id"]))
    e2e = {"e2e_total_ms": e2e_ms, "queue_time_ms": queue_ms, "e2e_total_tokens": sum(
               (row["num_tokens_out"] or 0) + (row["num_tokens_in"] or 0) * (row["stage_id"] == 0) for row in stages),
           "transfers_total_time_ms": round(sum(row["total_time_ms"] for row in transfers), 6),
           "transfers_total_bytes": sum(row["size_bytes"] or 0 for row in transfers),
           "unattributed_time_ms": e2e_ms if unattributed_ms is None else unattributed_ms}
    media = max((row.get("media_ms") or 0 for row in stages), default=0)
    more = {"real_time_factor": round(e2e_ms / media, 6) if media else None, "waiting_time_ms": waiting_ms,
            "errors": errors, "error": error}
    e2e |= {key: value for key, value in more.items() if value is not None}
    return line("request", request_id, end_us, overall_summary=OVERALL, e2e_table=e2e, stage_table=stages,
                transfer_table=list(transfers), **keys)


def stage_keys(stage_id, gen_ms, **keys):
    if keys.get("media_ms"):
        keys["real_time_factor"] = round(gen_ms / keys["media_ms"], 6)
    return {"stage_id": stage_id, "batch_id": None, "batch_size": None, "num_tokens_in": None,
            "num_tokens_out": None, "preprocess_time_ms": None, "stage_gen_time_ms": gen_ms, "busy_time_ms": gen_ms,
            "queue_time_ms": None, "start_ms": None, "events": 1, **keys}


def transfer_keys(from_stage, to_stage, tx_ms=None, rx_ms=None, flight_ms=None, **keys):
    total = round(sum(time or 0 for time in [tx_ms, rx_ms, flight_ms]), 6)
    return {"from_stage": from_stage, "to_stage": to_stage, "size_bytes": None, "tx_time_ms": tx_ms,
            "rx_decode_time_ms": rx_ms, "in_flight_time_ms": flight_ms, "total_time_ms": total, "start_ms": None,
            "events": 1, **keys}


def write(name, lines):
    path = WORK / name
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    return path


def id_that_comes_back():
    """Three requests of one id: a first one, a retry of it a little later, and another a day after."""
    lines = [
        request("again", 10_000, 10.0),
        request("again", 30_000, 12.0, [stage_keys(0, 1.0, start_ms=0.5, num_tokens_in=3, num_tokens_out=4)],
                unattributed_ms=11.0, queue_ms=0.5),
        request("again", 86_400_000_000, 10.0),
    ]
    # One in the middle of each, one that is a little late for the first, one a little early for the second.
    for end_us, tokens in [(5_000, 1), (12_000, 10), (17_600, 100), (25_000, 1_000), (86_399_996_000, 10_000)]:
        lines.append(line("stage", "again", end_us, **stage_keys(
            1, 0.5, wall_time_ms=0.5, num_tokens_in=7, num_tokens_out=tokens, batch_id=tokens)))
    return write("again.jsonl", lines)


def edges():
    """What is absent, late, early, folded or lost."""
    lines = [
        # Its own rows and those of workers share stages and edges, and overlap; the last one ends late.
        request("mixed", 100_000, 50.0, [
            stage_keys(0, 10.0, start_ms=1.0, num_tokens_in=5, num_tokens_out=6, batch_id=1, stage_name="a",
                       first_output_ms=4.0, time_per_output_token_ms=0.25, fields={"a": 1, "b": "s"}, events=2),
            stage_keys(None, 2.0, start_ms=20.0)],
            [transfer_keys(0, 1, 1.0, None, None, start_ms=11.0, size_bytes=100)],
            unattributed_ms=37.0, queue_ms=1.0, fields={"user": "x"}, warnings=["own"]),
        # Outputs in a row of its own and in two of workers, with pauses between them; media, and a share.
        request("streamed", 600_000, 50.0, [
            stage_keys(0, 10.0, start_ms=1.0, num_tokens_out=6, first_output_ms=4.0, outputs=3, last_output_ms=9.0,
                       inter_output_mean_ms=2.0, inter_output_max_ms=2.5, time_per_output_token_ms=1.0, media_ms=20.0,
                       num_tokens_cached=2, underruns=0, underrun_total_ms=0.0, waiting_time_ms=0.5,
                       queue_time_ms=0.75),
            stage_keys(1, 4.0, start_ms=1.0, share_time_ms=1.0)],
            unattributed_ms=38.0, queue_ms=1.0, waiting_ms=0.5, errors=2, error="no"),
        line("stage", "streamed", 580_000, **stage_keys(0, 3.0, wall_time_ms=3.0, num_tokens_out=4, outputs=2,
             first_output_after_ms=0.5, last_output_after_ms=2.75, inter_output_mean_ms=2.25, inter_output_max_ms=2.25,
             media_ms=7.0, share_time_ms=1.5, num_tokens_reasoning=1, queue_time_ms=0.5)),
        line("stage", "streamed", 590_000, **stage_keys(0, 3.0, wall_time_ms=3.0, outputs=1, num_tokens_out=1,
             first_output_after_ms=0.5, last_output_after_ms=0.5)),
        line("stage", "streamed", 590_000, **stage_keys(1, 5.0, wall_time_ms=5.0)),
        # All of it in the request's own line, and none of it beside a worker's.
        request("told", 700_000, 50.0, [
            stage_keys(0, 10.0, start_ms=1.0, num_tokens_out=6, first_output_ms=4.0, outputs=3, last_output_ms=9.0,
                       inter_output_mean_ms=2.0, inter_output_max_ms=2.5, time_per_output_token_ms=1.0, media_ms=20.0,
                       underruns=1, underrun_total_ms=0.125, waiting_time_ms=30.5, queue_time_ms=30.75)],
            unattributed_ms=40.0, queue_ms=1.0, waiting_ms=30.5, errors=1),
        line("stage", "mixed", 60_000, **stage_keys(0, 3.0, wall_time_ms=3.0, num_tokens_out=7, batch_id=2,
             batch_size=3, stage_name="b", first_output_after_ms=0.125, fields={"b": 2.5, "c": True}, queue_time_ms=0.5,
             preprocess_time_ms=0.75, time_per_output_token_ms=0.5), warnings=["of a worker"]),
        line("stage", "mixed", 70_000, **stage_keys(None, 30.0, wall_time_ms=5.0)),
        line("stage", "mixed", 101_234, **stage_keys(2, 0.1, wall_time_ms=0.1, num_tokens_in=9)),
        line("transfer", "mixed", 65_000, **transfer_keys(0, 1, None, 2.0, 1.5, wall_time_ms=2.0)),
        line("transfer", "mixed", 66_000, **transfer_keys(None, None, wall_time_ms=1.0, size_bytes=7)),
        # Rows of workers before the request was created, and with a flight from before it.
        request("early", 200_000, 10.0),
        line("stage", "early", 185_000, **stage_keys(0, 3.0, wall_time_ms=3.0, num_tokens_in=1, num_tokens_out=1)),
        line("stage", "early", 191_000, **stage_keys(1, 4.0, wall_time_ms=4.0, first_output_after_ms=1.0)),
        line("transfer", "early", 195_000, **transfer_keys(0, 1, None, 1.0, 20.0, wall_time_ms=1.0)),
        # No rows at all, no time at all, only a transfer.
        request("bare", 300_000, 5.0),
        request("nothing", 300_000, 0.0),
        request("handed over", 300_000, 5.0),
        line("transfer", "handed over", 299_000, **transfer_keys(3, 4, 1.0, wall_time_ms=1.0, size_bytes=9)),
        # As slow as each other, with parts as long as each other.
        *[request(f"tie-{n}", 400_000, 60.0, [stage_keys(0, 30.0, start_ms=0.0), stage_keys(1, 30.0, start_ms=0.0)],
                  unattributed_ms=30.0, queue_ms=0.0) for n in range(4)],
        # Nobody's.
        line("stage", "lost", 1_000, **stage_keys(0, 1.0, wall_time_ms=1.0)),
        line("transfer", "lost", 1_000, **transfer_keys(0, 1, 1.0, wall_time_ms=1.0)),
        line("stage", None, 1_000, **stage_keys(0, 1.0, wall_time_ms=1.0)),
    ]
    return write("edges.jsonl", lines)


def by_chance(seed):
    """Requests with rows of their own and of workers, anywhere around them."""
    chance = random.Random(seed)

    def time(most):
        return round(chance.uniform(0, most), 6)

    def maybe(value):
        return value if chance.random() < 0.7 else None

    def stage():
        return stage_keys(chance.randrange(3), time(20), num_tokens_in=maybe(chance.randrange(50)),
                          num_tokens_out=maybe(chance.randrange(50)), queue_time_ms=maybe(time(1)),
                          preprocess_time_ms=maybe(time(1)))

    def transfer():
        return transfer_keys(0, chance.randrange(1, 3), maybe(time(2)), maybe(time(2)), maybe(time(4)),
                             size_bytes=maybe(chance.randrange(9_999)))

    def outputs(first):
        count, mean = chance.randrange(1, 50), time(3)
        last = round(first + mean * (count - 1), 6)
        more = {"outputs": count, "last_output_after_ms": last, "media_ms": time(50)}
        gaps = {"inter_output_mean_ms": mean, "inter_output_max_ms": round(mean + time(1), 6)}
        return more | (gaps if count > 1 else {})

    lines = []
    for n in range(200):
        e2e, end = time(100), 1_000_000 + chance.randrange(10_000_000)
        stages = {row["stage_id"]: row for row in [stage() for _ in range(chance.randrange(3))]}.values()
        transfers = {row["to_stage"]: row for row in [transfer() for _ in range(chance.randrange(2))]}.values()
        for row in [*stages, *transfers]:
            row["start_ms"] = time(e2e)
        lines.append(request(f"r{n}", end, e2e, stages, transfers, unattributed_ms=time(e2e), queue_ms=maybe(time(9))))
        for _ in range(chance.randrange(9)):
            keys = stage() if chance.random() < 0.5 else transfer()
            kind = "stage" if "stage_id" in keys else "transfer"
            wall = keys["stage_gen_time_ms"] if kind == "stage" else time(3)
            row_end = end - int(chance.uniform(-10_000, e2e * 1_000 + 10_000))
            more = {"first_output_after_ms": time(1)} if kind == "stage" and chance.random() < 0.5 else {}
            if more and chance.random() < 0.5:
                more |= outputs(more["first_output_after_ms"])
            lines.append(line(kind, f"r{n}", row_end, **keys, wall_time_ms=wall, **more))
    chance.shuffle(lines)
    # The reader takes the last value that it reads, SQL the last by time: nothing here depends on it.
    return write("chance.jsonl", lines)


def sampled(log, seed):
    """The same lines, of which most stand for several requests."""
    chance = random.Random(seed)
    rates = {f"r{n}": chance.choice([None, 1, 2, 10, 10, 1_000]) for n in range(200)}
    lines = [json.loads(text) for text in lines_of(log) if text]
    return write("sampled.jsonl", [line | ({"sample_rate": rates[line["request_id"]]} if rates[line["request_id"]] else {})
                                   for line in lines])


def with_others(logs, path):
    """All lines in one file, between lines of others and cut ones, with keys that nobody knows."""
    chance = random.Random(1)
    others = [b"panicked at src/main.rs:1", b'{"level":"info","timestamp":"now","fields":{"a":1}}', b"", b"[1,2]",
              b'{"type":"audit","schema":3,"timestamp":"2026-01-31T12:00:00.000000Z"}', b'"text"', b"{}", b"12"]
    with path.open("wb") as out:
        for log in logs:
            for text in lines_of(log):
                if not text:
                    continue
                out.write(text[:-1] + b',"key_of_tomorrow":{"a":[1]}}\n')
                if chance.random() < 0.3:
                    out.write(chance.choice(others) + b"\n")
                if chance.random() < 0.05:
                    out.write(text[:chance.randrange(1, len(text) - 1)] + b"\n")
        out.write(text[:100])
    return path


def fleet(requests):
    """A simulated fleet, whose clocks are off: its logs in both databases, and against what really happened."""
    directory = WORK / "fleet"
    logs = simulate(directory, requests)
    compare(f"64 simulated processes, {requests} requests", logs, requests > LARGE)
    found = subprocess.run([TARGET / "omni_fleet", "check", directory / "truth.json", WORK / "complete.jsonl"],
                           capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    ok(f"64 simulated processes, what really happened: {found.stdout.splitlines()[0]}")
    print(found.stdout)


def simulate(directory, requests, *options):
    """The logs of a fleet. The same number of requests gives the same requests, whatever is kept of them."""
    run(TARGET / "omni_fleet", "run", "--out", directory, "--requests", requests,
        "--restarts", max(24, requests // 1_000), "--start", START.isoformat() + "Z", *options)
    return sorted(directory.glob("*.jsonl"))


def is_chosen(request_id):
    """Whether `Keep::one_in(ONE_IN)` chooses an id, as its documentation has it."""
    hash = 0xcbf29ce484222325
    for byte in request_id.encode():
        hash = (hash ^ byte) * 0x100000001b3 % 2**64
    for shift, factor in [(30, 0xbf58476d1ce4e5b9), (27, 0x94d049bb133111eb)]:
        hash = (hash ^ hash >> shift) * factor % 2**64
    return (hash ^ hash >> 31) % ONE_IN == 0


ONE_IN = 10
# How many standard deviations a weighted figure may be off: one in 15,000 is off by more.
DEVIATIONS = 4


def near(what, expected, found, deviation):
    assert abs(expected - found) <= DEVIATIONS * deviation, \
        f"{what}: expected {expected} ± {deviation:.1f}, found {found}"


def sampled_fleet(requests):
    """The same fleet, which keeps one in ten requests and all that failed or were slow: against the whole logs."""
    logs = simulate(WORK / "sampled", requests, "--keep-one-in", ONE_IN)
    compare(f"64 simulated processes, one in {ONE_IN} of {requests} requests", logs, requests > LARGE)
    if requests > LARGE:
        return

    # What is kept is what was to be kept, and says so; the rest of each line is as it would be without sampling.
    expected, kept = [], [json.loads(text) for log in logs for text in lines_of(log) if text]
    for text in (text for log in sorted((WORK / "fleet").glob("*.jsonl")) for text in lines_of(log) if text):
        line = json.loads(text)
        table, chosen = line.get("e2e_table"), is_chosen(line["request_id"])
        if table and (table["finish_reason"] not in ["stop", "length"] or table["e2e_total_ms"] > 1_000):
            expected.append(line)
        elif chosen:
            expected.append(line | {"sample_rate": ONE_IN})
    same("kept lines", expected, kept)

    # Figures of the whole fleet, and what the lines of the sampled one say of them.
    whole = complete(sorted((WORK / "fleet").glob("*.jsonl")))
    sampled_rate = [line for line in kept if line.get("sample_rate")]
    spread = math.sqrt((ONE_IN - 1) * ONE_IN * sum(line["type"] == "request" for line in sampled_rate))
    for kind in [Duck, Click]:
        database = kind(logs)
        times = sorted(line["e2e_table"]["e2e_total_ms"] for line in whole)
        row = next(row for row in database.file("percentiles") if row["number"] == "e2e_total_ms")
        near(f"{kind.name}: requests", len(whole), row["count"], spread)
        for name, share in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99)]:
            rank = bisect.bisect(times, row[name])
            near(f"{kind.name}: rank of {name}", share * len(whole), rank, max(spread * math.sqrt(share * (1 - share)), 1))
        found = database.rows("SELECT stage_id, sum(greatest(coalesce(sample_rate, 1), 1)) AS rows FROM worker_row"
                              " WHERE type = 'stage' GROUP BY stage_id")
        for row in found:
            # A request has up to three rows of a stage, which are kept or left out together.
            rows = sum(stage["events"] for line in whole for stage in line["stage_table"]
                       if stage["stage_id"] == row["stage_id"])
            near(f"{kind.name}: rows of stage {row['stage_id']}", rows, row["rows"], spread * 3)
        database.close()
        ok(f"64 simulated processes, one in {ONE_IN}, {kind.name}: {len(kept)} lines agree with the whole logs")


def main():
    logs = WORK / "logs"
    run(TARGET / "omni_distributed", "--log-stats", "--log-dir", logs, "--requests", "60", "--concurrency", "6",
        "--out", WORK / "sound", stdin=subprocess.DEVNULL)
    distributed = sorted(logs.glob("*.jsonl"))
    same("logs", 4, len(distributed))
    compare("omni_distributed", distributed)

    pipeline = WORK / "pipeline.jsonl"
    ran = run(EXAMPLES / "omni_pipeline", "--log-stats", "--summary", "--requests", "60", "--concurrency", "6",
              "--out", WORK / "sound", stdin=subprocess.DEVNULL)
    pipeline.write_text(ran.stderr)
    compare("omni_pipeline", [pipeline])

    # The ids of both are the same ones.
    packed = WORK / "talker.jsonl.gz"
    with gzip.open(packed, "wb") as out, (logs / "talker.jsonl").open("rb") as log:
        shutil.copyfileobj(log, out)
    rest = [log for log in distributed if log.stem != "talker"]
    compare("both, with lines of others, cut lines and a packed file",
            [with_others([pipeline, *rest], WORK / "others.log"), packed])

    compare("an id that comes back", [id_that_comes_back()])
    compare("absent, early and late rows", [edges()])
    for seed in range(3):
        compare(f"requests and rows by chance ({seed})", [by_chance(seed)])
        compare(f"requests and rows by chance ({seed}), sampled", [sampled(by_chance(seed), seed)])
    compare("no request at all", [write("none.jsonl", [line("stage", "x", 1, **stage_keys(0, 1.0))])])
    # A long run is asked for by hand: `.ci/sql 200000`.
    requests = int(sys.argv[3]) if len(sys.argv) > 3 else 3_000
    fleet(requests)
    sampled_fleet(requests)
    print(f"{passed} passed, 0 failed")


main()
