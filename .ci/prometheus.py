"""Compares what Prometheus has counted with the log of the server that it scraped, under load."""

import collections
import csv
import decimal
import json
import math
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

SERVER = pathlib.Path(sys.argv[1]).resolve() / "debug" / "omni_server"
WORK = pathlib.Path(sys.argv[2]).resolve()
ASSETS = pathlib.Path("examples/omni_server/prometheus")
JOB = "omni_server"
REASONS = ["stop", "length", "abort", "error", "other", "none"]
# Number of a table -> histogram.
REQUEST = {
    "e2e_total_ms": "omni_e2e_seconds",
    "unattributed_time_ms": "omni_unattributed_seconds",
    "waiting_time_ms": "omni_waiting_seconds",
    "real_time_factor": "omni_real_time_factor",
}
STAGE = {
    "stage_gen_time_ms": "omni_stage_gen_seconds",
    "queue_time_ms": "omni_stage_queue_seconds",
    "preprocess_time_ms": "omni_stage_preprocess_seconds",
    "first_output_ms": "omni_stage_first_output_seconds",
    "time_per_output_token_ms": "omni_stage_time_per_output_token_seconds",
    "waiting_time_ms": "omni_stage_waiting_seconds",
    "share_time_ms": "omni_stage_share_seconds",
    "media_ms": "omni_stage_media_seconds",
    "real_time_factor": "omni_stage_real_time_factor",
    "underrun_total_ms": "omni_stage_underrun_seconds",
}
# Number of a row -> counter.
STAGE_COUNTERS = {
    "num_tokens_in": "omni_stage_prompt_tokens_total",
    "num_tokens_out": "omni_stage_generation_tokens_total",
    "num_tokens_cached": "omni_stage_cached_tokens_total",
    "num_tokens_reasoning": "omni_stage_reasoning_tokens_total",
    "underruns": "omni_stage_underruns_total",
}
EDGE = {
    "tx_time_ms": "omni_transfer_tx_seconds",
    "in_flight_time_ms": "omni_transfer_in_flight_seconds",
    "rx_decode_time_ms": "omni_transfer_rx_decode_seconds",
    "size_bytes": "omni_transfer_size_bytes",
}
GAPS = "omni_stage_inter_output_seconds"
# Their series appear with the first value, and there may be none.
RARE = {
    "omni_real_time_factor", "omni_stage_share_seconds", "omni_stage_media_seconds",
    "omni_stage_real_time_factor", "omni_stage_underrun_seconds", GAPS,
}
# A gap is known by its bucket, half of which is less than a hundredth of it.
GAP_ERROR = 0.01
# The expression of an alert has a value only while it holds.
MAY_BE_EMPTY = {
    "OmniServerDown": "the server is up; what happens when it is not comes last",
    "OmniSlow": "no request takes seconds",
    "OmniStageQueueing": "whether one has to wait for so long depends on the machine",
    "OmniSlowerThanRealTime": "whether sound is late depends on the machine",
    "OmniUnderruns": "as above",
    "OmniTimeUnattributed": "how much time is nobody's depends on the machine",
    "OmniStuck": "requests end while others are open",
    "OmniLinesLost": "a file takes every line",
}

passed = 0


def ok(what):
    global passed
    passed += 1
    print(f"ok  {what}", flush=True)


def same(what, expected, found):
    assert expected == found, f"{what}: expected {expected!r}, found {found!r}"


def poll(what, condition):
    """The first true value of `condition`, however long that takes: a machine may be busy."""
    print(f"    waits until {what}", flush=True)
    while not (value := condition()):
        time.sleep(0.05)
    return value


def get(url):
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{url}: {error.read().decode()}") from error


def finite(text):
    return math.isfinite(float(text))


class Process:
    """A program whose output goes to files. `stop_all` ends what has not ended by itself."""

    started = []

    def __init__(self, name, *command):
        self.name, self.out, self.err = name, WORK / f"{name}.out", WORK / f"{name}.err"
        with self.out.open("w") as out, self.err.open("w") as err:
            self.process = subprocess.Popen(
                [*map(str, command)], stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        self.started.append(self)

    def runs(self):
        return self.process.poll() is None

    def says(self, file, pattern):
        """What the first group of `pattern` matches, once the program has written it."""

        def find():
            assert self.runs(), f"{self.name} has ended: {self.err.read_text()[-2000:]}"
            return re.search(pattern, file.read_text())

        return poll(f"{self.name} says {pattern!r}", find)[1]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait()

    @classmethod
    def stop_all(cls):
        for process in cls.started:
            process.process.kill()
            process.process.wait()


class Prometheus(Process):
    def __init__(self, target):
        config = (ASSETS / "prometheus.yml").read_text()
        for old, new in [("scrape_interval: 15s", "scrape_interval: 1s"),
                         ("evaluation_interval: 15s", "evaluation_interval: 1s"), ("127.0.0.1:8080", target)]:
            same(f"places of {old!r}", 1, len(re.findall(rf"\b{old}\b", config)))
            config = re.sub(rf"\b{old}\b", new, config)
        (WORK / "prometheus.yml").write_text(config)
        shutil.copy(ASSETS / "rules.yml", WORK)
        super().__init__("prometheus", "prometheus", f"--config.file={WORK / 'prometheus.yml'}",
                         f"--storage.tsdb.path={WORK / 'data'}", "--web.listen-address=127.0.0.1:0")
        self.url = "http://" + self.says(self.err, r'msg="Listening on".* address=(\S+)')
        self.says(self.err, "(ready to receive web requests)")

    def api(self, path, **parameters):
        answer = json.loads(get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))
        same(path, "success", answer["status"])
        return answer["data"]

    def query(self, expr, **parameters):
        """Pairs of labels and value."""
        data = self.api("query", query=expr, **parameters)
        return [(series["metric"], series["value"][1]) for series in data["result"]]

    def value(self, expr, **parameters):
        [(_, value)] = self.query(expr, **parameters)
        return float(value)

    def scraped_since(self, moment):
        """The time of a scrape that began after `moment`."""

        def scraped():
            [(_, scrape)] = self.query("timestamp(up)") or [(None, 0)]
            return float(scrape) if float(scrape) > moment else None

        return poll("there is a scrape", scraped)

    def everything(self, moment):
        """Each series of the layer, without the labels of the scrape."""
        return {
            series(labels["__name__"], **{label: value for label, value in labels.items()
                                          if label not in ("__name__", "job", "instance")}): float(value)
            for labels, value in self.query('{__name__=~"omni_.*"}', time=moment)
        }


class Clients:
    """They count what they ask for."""

    def __init__(self, address):
        self.address, self.url = address, f"http://{address}/v1/generate"
        self.heys, self.made, self.left, self.statuses, self.times = {}, 0, 0, collections.Counter(), []

    def hey(self, name, requests, workers, per_second, body):
        self.heys[Process(
            name, "hey", "-n", requests, "-c", workers, "-q", per_second, "-t", 0, "-o", "csv",
            "-m", "POST", "-T", "application/json", "-d", json.dumps(body), self.url)] = requests

    def are_busy(self):
        return any(hey.runs() for hey in self.heys)

    def count(self):
        for hey, requests in self.heys.items():
            same(f"{hey.name} ends well", 0, hey.process.wait())
            rows = list(csv.DictReader(hey.out.read_text().splitlines()))
            same(f"answers to {hey.name}", requests, len(rows))
            self.made += requests
            self.statuses.update(int(row["status-code"]) for row in rows)
            self.times += [float(row["response-time"]) for row in rows if row["status-code"] == "200"]

    def ask(self, body, request_id=None):
        headers = {"content-type": "application/json"} | ({"x-request-id": request_id} if request_id else {})
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)
        self.made += 1
        try:
            with urllib.request.urlopen(request) as answer:
                answer.read()
                self.statuses[answer.status] += 1
        except urllib.error.HTTPError as error:
            self.statuses[error.code] += 1

    def leave(self):
        """Asks for much, and goes as soon as the answer begins."""
        host, port = self.address.split(":")
        body = json.dumps({"prompt": "Where does the time go, step by step?", "seed": self.made}).encode()
        head = f"POST /v1/generate HTTP/1.1\r\nhost: {self.address}\r\ncontent-type: application/json\r\n"
        with socket.create_connection((host, int(port))) as stream:
            stream.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            same("an answer begins", b"HTTP/1.1 200", stream.recv(12))
        self.made += 1
        self.left += 1


def promtool(*arguments, **options):
    command = ["promtool", *map(str, arguments)]
    done = subprocess.run(command, text=True, capture_output=True, **options)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def check_files():
    promtool("check", "config", ASSETS / "prometheus.yml")
    promtool("check", "rules", "--lint=all", "--lint-fatal", ASSETS / "rules.yml")
    promtool("test", "rules", ASSETS / "rules_test.yml")
    ok("promtool: config, rules and the tests of the rules")


def put_load(clients, metrics):
    """Everything that a client may do, at once, and `/metrics` checked meanwhile."""
    clients.hey("talks", 600, 8, 10, {"prompt": "Where does the time go?", "max_tokens": 64, "seed": 7})
    clients.hey("short_talks", 120, 2, 10, {"prompt": "The request span", "max_tokens": 8, "seed": 3})
    clients.hey("mistakes", 80, 2, 5, {"prompt": "Nothing, please", "max_tokens": 0})
    for _ in range(3):
        # Cut, with a warning in its line.
        clients.ask({"prompt": "Who am I?"}, request_id="x" * 1100)
    checked = 0
    while checked < 3 or clients.are_busy():
        # Not so many that errors become rare among the requests.
        if clients.left < 60:
            clients.leave()
        same("promtool check metrics", "", promtool("check", "metrics", input=get(metrics)))
        checked += 1
        time.sleep(0.2)
    clients.count()
    same("answers", {200, 400}, set(clients.statuses))
    ok(f"{clients.made} requests: {dict(clients.statuses)}, {clients.left} clients left early")
    ok(f"promtool check metrics is silent, {checked} times under load")


def at_rest(metrics, made):
    """Whether the server has nothing left to do."""
    text = get(metrics)
    closed = sum(map(float, re.findall(r"^omni_requests_total\{.*\} (.*)$", text, re.M)))
    return closed >= made and "\nomni_requests_in_flight 0\n" in text


def lines(server):
    """Of the layer; what others write to stderr is passed over."""
    text = server.err.read_text().splitlines()
    return [json.loads(line, parse_float=decimal.Decimal) for line in text if line.startswith('{"type":"')]


def nanoseconds(ms):
    return int(ms * 1_000_000)


class Expected:
    """What Prometheus should have, from the lines alone."""

    def __init__(self, log):
        requests = [line for line in log if line["type"] == "request"]
        rows = [row for line in requests for row in line["stage_table"]]
        reasons = collections.Counter(
            reason if reason is None or reason in REASONS[:4] else "other"
            for reason in (line["e2e_table"].get("finish_reason") for line in requests))
        self.values = {
            series("omni_requests_total", finish_reason=reason): reasons[None if reason == "none" else reason]
            for reason in REASONS
        } | {
            series("omni_requests_in_flight"): 0,
            series("omni_prompt_tokens_total"):
                sum(row["num_tokens_in"] or 0 for row in rows if row["stage_id"] == 0),
            series("omni_generation_tokens_total"): sum(row["num_tokens_out"] or 0 for row in rows),
            series("omni_errors_total"): sum(line["e2e_table"].get("errors", 0) for line in requests),
            series("omni_lines_lost_total"): 0,
            series("omni_warnings_total"): sum(len(line.get("warnings", [])) for line in log),
        }
        # Values are whole nanoseconds, bytes or millionths, so that sums are exact.
        self.histograms = collections.defaultdict(list)
        self.gaps = collections.Counter()
        for line in requests:
            for number, name in REQUEST.items():
                self.add(series(name), number, line["e2e_table"])
            for row in line["stage_table"]:
                stage = str(row["stage_id"])
                for number, name in STAGE.items():
                    self.add(series(name, stage=stage), number, row)
                for number, name in STAGE_COUNTERS.items():
                    key = series(name, stage=stage)
                    self.values[key] = self.values.get(key, 0) + (row.get(number) or 0)
                if (outputs := row.get("outputs", 0)) > 1:
                    self.gaps[series(GAPS, stage=stage)] += outputs - 1
            for row in line["transfer_table"]:
                ends = {"from_stage": str(row["from_stage"]), "to_stage": str(row["to_stage"])}
                for number, name in EDGE.items():
                    self.add(series(name, **ends), number, row)
        for (name, labels), values in self.histograms.items():
            self.values[name + "_count", labels] = len(values)
            self.values[name + "_sum", labels] = sum(values) / unit(name)
        for (name, labels), gaps in self.gaps.items():
            # The mean is cut to whole nanoseconds.
            means = [(row["outputs"] - 1) * nanoseconds(row["inter_output_mean_ms"])
                     for row in rows if row.get("outputs", 0) > 1
                     and {("stage", str(row["stage_id"]))} == set(labels)]
            self.values[name + "_count", labels] = gaps
            self.values[name + "_sum", labels] = sum(means) / unit(name)

    def add(self, key, number, row):
        name, _ = key
        value = row.get(number)
        if value is None and name in RARE:
            return
        # A stage that has no such number has an empty histogram all the same.
        values = self.histograms[key]
        if value is not None:
            values.append(value if number == "size_bytes" else nanoseconds(value))

    def bucket(self, name, labels):
        """How many values are at most `le`; of gaps, only the last bucket is known."""
        [bound] = [value for label, value in labels if label == "le"]
        key = name, frozenset(label for label in labels if label[0] != "le")
        if name == GAPS:
            return self.gaps[key] if bound == "+Inf" else None
        return sum(value / unit(name) <= float(bound) for value in self.histograms[key])


def unit(name):
    """What the log's numbers, as whole ones, are divided by. A ratio has six decimals, as a millisecond has."""
    return 1 if name.endswith("_bytes") else 10**6 if name.endswith("_factor") else 10**9


def series(name, **labels):
    return name, frozenset(labels.items())


def compare(found, log, made):
    expected = Expected(log)
    same("lines of requests", made, sum(line["type"] == "request" for line in log))
    wrong, buckets = [], 0
    for (name, labels), value in found.items():
        if name.endswith("_bucket"):
            wanted = expected.bucket(name.removesuffix("_bucket"), labels)
            if wanted is None:
                continue
            buckets += 1
        else:
            wanted = expected.values.get((name, labels))
        # Only sums have been rounded, each time that a value was added.
        near = GAP_ERROR if name == f"{GAPS}_sum" else 1e-9 if name.endswith("_sum") else 0
        if wanted is None or not math.isclose(wanted, value, rel_tol=near):
            wrong.append(f"{name} {dict(labels)}: {wanted} in the log, {value} in Prometheus")
    for name, labels in expected.values.keys() - found.keys():
        wrong.append(f"{name} {dict(labels)}: not in Prometheus")
    assert not wrong, "\n".join(sorted(wrong))
    # Zero was not only compared with zero.
    reasons = {reason: expected.values[series("omni_requests_total", finish_reason=reason)]
               for reason in REASONS}
    assert all(reasons[reason] for reason in REASONS[:4]), reasons
    same("warnings", 3, expected.values[series("omni_warnings_total")])
    ok(f"{len(expected.values)} numbers and {buckets} buckets are those of {made} lines: {reasons}")


def grafana(expr, jobs, interval, scrape_interval):
    """Puts in the variables as Grafana does, in seconds."""
    job = jobs[0] if len(jobs) == 1 else f"({'|'.join(jobs)})"
    rate = max(interval + scrape_interval, 4 * scrape_interval)
    for name, value in [("$__rate_interval", f"{rate}s"), ("$__interval", f"{interval}s"), ("$job", job)]:
        expr = expr.replace(name, value)
    assert "$" not in expr, expr
    return expr


def lacks_rare(prometheus, expr, moment):
    """Whether an expression asks for a rare histogram of which there is no series."""
    names = set(re.findall(r"(?<![:\w])omni_\w+", expr))
    return any(re.sub("_(bucket|sum|count)$", "", name) in RARE and not prometheus.query(name, time=moment)
               for name in names)


def check_dashboard(prometheus, start, end):
    dashboard = json.loads((ASSETS / "dashboard.json").read_text())
    datasource, job = dashboard["templating"]["list"]
    same("the variable", "${datasource}", f"${{{datasource['name']}}}")
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", job["query"]["query"]).groups()
    jobs = prometheus.api(f"label/{label}/values", **{"match[]": metric})
    same("services", [JOB], jobs)

    queries, taken = 0, set()
    for panel in dashboard["panels"]:
        name, at = panel["title"], panel["gridPos"]
        same(f"{name}: data source", {"type": "prometheus", "uid": "${datasource}"}, panel["datasource"])
        assert panel["description"] and panel["fieldConfig"]["defaults"]["unit"], name
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and max(cells)[0] < 24, f"{name} is in another's place"
        taken |= cells
        for target in panel["targets"]:
            expr = grafana(target["expr"], jobs, interval=1, scrape_interval=1)
            result = prometheus.api("query_range", query=expr, start=start, end=end, step=1)["result"]
            values = [value for line in result for _, value in line["values"]]
            queries += 1
            if lacks_rare(prometheus, expr, end):
                print(f"    {name}: nothing was recorded for it")
                continue
            assert any(map(finite, values)), f"{name}: no number for {expr}"
            for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
                assert all(label in line["metric"] for line in result), f"{name}: no label {label}: {expr}"
    same("ids", len(dashboard["panels"]), len({panel["id"] for panel in dashboard["panels"]}))
    ok(f"dashboard: {len(dashboard['panels'])} panels, {queries} queries, a number for each")


def check_rules(prometheus, moment):
    def rules():
        rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else None

    rules = poll("rules are evaluated", rules)
    same("rules", len(re.findall(r"- (?:record|alert):", (ASSETS / "rules.yml").read_text())), len(rules))
    lacking = {rule["name"] for rule in rules if lacks_rare(prometheus, rule["query"], moment)}
    for rule in rules:
        same(f"health of {rule['name']}", "ok", rule["health"])
        values = [value for _, value in prometheus.query(rule["query"], time=moment)]
        if rule["name"] in lacking:
            print(f"    {rule['name']}: nothing was recorded for it")
            continue
        if rule["name"] in MAY_BE_EMPTY:
            # At least what it compares has to be there.
            unquoted = re.sub('".*?"', "", rule["query"])
            names = set(re.findall(r"\b(?:up|omni_\w+|[a-z_]+:\w+:\w+)\b", unquoted))
            if not names & lacking:
                assert names and all(prometheus.query(name, time=moment) for name in names), rule
            continue
        assert any(map(finite, values)), f"{rule['name']}: no number for {rule['query']}"
        if rule["type"] == "recording":
            assert any(finite(value) for _, value in prometheus.query(rule["name"])), rule["name"]
    assert MAY_BE_EMPTY.keys() <= {rule["name"] for rule in rules}, MAY_BE_EMPTY
    took = 1000 * sum(rule["evaluationTime"] for rule in rules)
    ok(f"{len(rules)} rules have their numbers; all are evaluated in {took:.1f} ms")


def alerts(prometheus):
    return {labels["alertname"]: labels["alertstate"] for labels, _ in prometheus.query("ALERTS")}


def check_alerts(prometheus):
    # One request in ten was refused. It fires when that goes on.
    poll("the errors are noticed", lambda: alerts(prometheus).get("OmniErrorsHigh") == "pending")
    same("others", set(), alerts(prometheus).keys() & {"OmniServerDown", "OmniLinesLost"})
    ok("the alert for errors is pending, those for a lost server and lost lines are not")


def measure(prometheus, log, clients, moment):
    """What the log, Prometheus and a client say of the same time."""
    requests = [line["e2e_table"] for line in log if line["type"] == "request"]
    times = sorted(table["e2e_total_ms"] for table in requests)
    exact = times[math.ceil(0.99 * len(times)) - 1]
    p99 = prometheus.value("histogram_quantile(0.99, omni_e2e_seconds_bucket)", time=moment)
    print(f"    p99 of all requests: {exact:.1f} ms in the log, {1000 * p99:.1f} ms in Prometheus")
    served = [table["e2e_total_ms"] for table in requests if table["finish_reason"] in ("stop", "length")]
    print(f"    mean of those that were served: {sum(served) / len(served):.1f} ms in the log, "
          f"{1000 * sum(clients.times) / len(clients.times):.1f} ms for hey")
    samples = prometheus.value("scrape_samples_scraped", time=moment)
    slowest = prometheus.value("max_over_time(scrape_duration_seconds[10m])", time=moment)
    print(f"    a scrape: {samples:.0f} samples, {1000 * slowest:.1f} ms at most")


def check():
    check_files()
    server = Process("server", SERVER, "--listen", "127.0.0.1:0", "--log-stats")
    address = server.says(server.out, r"listening on http://(\S+)")
    metrics, clients = f"http://{address}/metrics", Clients(address)
    prometheus = Prometheus(address)

    # The series are there from the first request on, and a rate needs a value from before the load.
    clients.ask({"prompt": "Hello"})
    start = prometheus.scraped_since(time.time())
    put_load(clients, metrics)
    poll("the server comes to rest", lambda: at_rest(metrics, clients.made))
    moment = prometheus.scraped_since(time.time())
    check_dashboard(prometheus, start, moment)
    check_rules(prometheus, moment)
    check_alerts(prometheus)

    same("exit code of the server", 0, server.end())
    *log, summary = lines(server)
    compare(prometheus.everything(moment), log, clients.made)
    measure(prometheus, log, clients, moment)
    same("the last line", ("summary", clients.made),
         (summary["type"], summary["overall_summary"]["e2e_requests"]))
    poll("nobody is there", lambda: alerts(prometheus).get("OmniServerDown") == "pending")
    same("exit code of Prometheus", 0, prometheus.end())
    ok("the server ends well, and the alert for it is pending")


def main():
    # Nothing here is for a proxy.
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        check()
    finally:
        Process.stop_all()
    print(f"{passed} passed, 0 failed")


main()
