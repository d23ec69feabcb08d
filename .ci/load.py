"""Loads the server example, makes faults under load, and holds its log against what was asked for."""

import collections
import csv
import json
import os
import pathlib
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import threading
import time
import urllib.request

FORM = sys.argv[1]
SERVER = pathlib.Path(sys.argv[2]).resolve() / "omni_server"
WORK = pathlib.Path(sys.argv[3]).resolve()
CONNECTIONS = [1, 8, 64, 256]
# How much each part does, in the short form and in the long one.
SIZES = {
    "short": dict(rounds=1, run=256, memory=1_500, vanishing=60, slow=8, others=500, unread=1_000, rotations=8),
    "long": dict(rounds=5, run=5_120, memory=200_000, vanishing=4_000, slow=32, others=10_000, unread=30_000,
                 rotations=60),
}
SIZE = SIZES[FORM]
# Cheap: the server spends half a millisecond of a processor on it.
BRIEF = {"prompt": "Go", "max_tokens": 1}
# Enough sound that the buffers of a connection do not hold it.
LONG = {"prompt": "Where did the time go", "min_tokens": 400, "max_tokens": 400}
QUEUED = ["--log-stats", "--keep-one-in", "10", "--report-every", "200ms", "--report-older", "1s"]
# In the last quarter of a run over that in the first: what the allocator does with the pages of its threads.
MEMORY_NOISE_MIB = 4.0
passed = 0


def ok(what):
    global passed
    passed += 1
    print(f"ok  {what}", flush=True)


def same(what, expected, found):
    assert expected == found, f"{what}: expected {expected!r}, found {found!r}"


class Server:
    """`omni_server`, until `end`, with its log in a file of its own if there are options."""

    started = []

    def __init__(self, name, *options, log=None):
        self.name, self.log = name, log or WORK / f"{name}.jsonl"
        out, self.err = WORK / f"{name}.out", WORK / f"{name}.err"
        options = [*options, "--log", str(self.log)] if options else []
        with out.open("w") as stdout, self.err.open("w") as stderr:
            self.process = subprocess.Popen([str(SERVER), "--listen", "127.0.0.1:0", *options],
                                            stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        self.started.append(self.process)
        while not (found := re.search(r"http://(\S+)\n", out.read_text())):
            assert self.process.poll() is None, f"{name} has ended: {self.err.read_text()}"
            time.sleep(0.02)
        self.address = found[1]

    def cpu_s(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def rss_mib(self):
        pages = pathlib.Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def open_requests(self):
        with urllib.request.urlopen(f"http://{self.address}/debug/requests?format=json") as answer:
            return json.load(answer)["requests"]

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        same(f"exit code of {self.name}", 0, self.process.wait())

    @classmethod
    def stop_all(cls):
        for process in cls.started:
            process.kill()
            process.wait()


class Run:
    """A run of `hey`."""

    def __init__(self, server, requests, connections, body=BRIEF):
        # It gives each of its connections the same number of requests.
        self.requests, self.server = requests // connections * connections, server
        self.cpu_s = server.cpu_s()
        self.process = subprocess.Popen(
            ["hey", "-n", str(self.requests), "-c", str(connections), "-t", "0", "-o", "csv", "-m", "POST",
             "-T", "application/json", "-d", json.dumps(body), f"http://{server.address}/v1/generate"],
            stdout=(WORK / "hey.csv").open("w"), stderr=subprocess.DEVNULL)
        Server.started.append(self.process)

    def is_busy(self):
        return self.process.poll() is None

    def rows(self):
        same("exit code of hey", 0, self.process.wait())
        return list(csv.DictReader((WORK / "hey.csv").read_text().splitlines()))

    def end(self):
        """Requests a second, latencies and processor time a request, in milliseconds, once all are answered."""
        rows = self.rows()
        statuses = collections.Counter(row["status-code"] for row in rows)
        same("answers by status", {"200": self.requests}, dict(statuses))
        times = sorted(float(row["response-time"]) * 1e3 for row in rows)
        seconds = max(float(row["offset"]) + float(row["response-time"]) for row in rows)
        return {
            "requests/s": self.requests / seconds,
            "p50_ms": times[len(times) // 2],
            "p99_ms": times[len(times) * 99 // 100],
            "cpu_ms": (self.server.cpu_s() - self.cpu_s) * 1e3 / self.requests,
        }


class Client:
    """A connection with one request of its own on it."""

    def __init__(self, server, body, buffer=None):
        host, port = server.address.split(":")
        body = json.dumps(body).encode()
        head = f"POST /v1/generate HTTP/1.1\r\nhost: {server.address}\r\ncontent-type: application/json\r\n" \
            f"connection: close\r\ncontent-length: {len(body)}\r\n\r\n"
        self.stream = socket.socket()
        if buffer:
            self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.stream.connect((host, int(port)))
        self.stream.sendall(head.encode() + body)
        same("an answer begins", b"HTTP/1.1 200", self.stream.recv(12))

    def vanish(self):
        """Leaves with a reset, as a process that is killed with bytes unread."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.close()

    def read(self, size):
        return self.stream.recv(size)


def lines(*logs):
    """The lines of files, each of them whole."""
    found = []
    for log in logs:
        text = log.read_text()
        assert not text or text.endswith("\n"), f"{log} ends within a line"
        found += [json.loads(line) for line in text.splitlines()]
    return found


def account(requests, log):
    """Every request has a line, or was counted as left out or lost. Returns the request lines and the summary."""
    written = [line for line in log if line["type"] == "request"]
    same("ids that occur twice", [], [
        id for id, times in collections.Counter(line["request_id"] for line in written).items() if times > 1])
    *reports, summary = [line for line in log if line["type"] == "summary"]
    same("requests of the last summary", requests, summary["overall_summary"]["e2e_requests"])
    same("requests = lines + left out + lost", requests,
         len(written) + summary["lines_left_out"] + summary["lines_lost"])
    return written, reports, summary


def whole_account(requests, log):
    """As `account`, of a log with reports and without losses, whose windows add up to all requests but those after
    the last report."""
    written, reports, summary = account(requests, log)
    same("lines lost", 0, summary["lines_lost"])
    same("windows add up to the requests at the last report",
         reports[-1]["overall_summary"]["e2e_requests"],
         sum(report["window"]["requests"] for report in reports))
    sampled = sum(line.get("sample_rate") == 10 for line in written)
    return f"{requests} requests = {len(written)} lines ({sampled} of them one in 10) " \
        f"+ {summary['lines_left_out']} left out + 0 lost, {len(reports)} reports"


def connections():
    """Both servers stay up, so that runs with and without the layer follow each other closely."""
    servers = {"off": Server("off"), "on": Server("on", *QUEUED)}
    for server in servers.values():
        Run(server, 64, 8).end()
    results, made = collections.defaultdict(list), 64
    for round in range(SIZE["rounds"]):
        for count in CONNECTIONS:
            for mode in sorted(servers, reverse=round % 2):
                run = Run(servers[mode], SIZE["run"], count)
                results[count, mode].append(run.end())
                made += run.requests if mode == "on" else 0
    print(f"    {'connections':>11} {'layer':>5} {'requests/s':>20} {'p50_ms':>20} {'p99_ms':>20} {'cpu_ms':>20}")
    for (count, mode), runs in results.items():
        cells = [f"{statistics.median(values):.4g} ({min(values):.4g}–{max(values):.4g})"
                 for values in zip(*(run.values() for run in runs))]
        print(f"    {count:>11} {mode:>5} " + " ".join(f"{cell:>20}" for cell in cells))
    for server in servers.values():
        server.end()
    same("the log of the server without the layer", False, servers["off"].log.exists())
    same("stderr of both", "", servers["off"].err.read_text() + servers["on"].err.read_text())
    ok(f"{', '.join(map(str, CONNECTIONS))} connections: {whole_account(made, lines(servers['on'].log))}")


def memory():
    server = Server("memory", *QUEUED)
    run, samples, since = Run(server, SIZE["memory"], 64), [], time.monotonic()
    while run.is_busy():
        samples.append((time.monotonic() - since, server.rss_mib()))
        time.sleep(0.1)
    end, result = samples[-1][0], run.end()
    first = max(rss for moment, rss in samples if moment <= end / 4)
    last = max(rss for moment, rss in samples if moment >= end * 3 / 4)
    server.end()
    counted = whole_account(run.requests, lines(server.log))
    figures = f"{first:.1f} MiB at most in the first quarter of {end:.0f} s, {last:.1f} MiB in the last"
    assert last <= first + MEMORY_NOISE_MIB, f"memory grew: {figures}"
    ok(f"memory: {figures}; {result['requests/s']:.0f} requests/s; {counted}")


def vanishing():
    """Clients that leave in the middle of an answer, beside others that stay."""
    server, left = Server("vanishing", *QUEUED), []
    run = Run(server, SIZE["others"], 8)

    def leave(count):
        for number in range(count):
            client = Client(server, LONG | {"seed": number})
            client.read(1 + number % 4000)
            client.vanish()
            left.append(client)

    crowd = [threading.Thread(target=leave, args=[SIZE["vanishing"] // 4]) for _ in range(4)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()
    run.end()
    server.end()
    same("clients that left", SIZE["vanishing"] // 4 * 4, len(left))
    log = lines(server.log)
    reasons = collections.Counter(line["e2e_table"]["finish_reason"] for line in log if line["type"] == "request")
    assert reasons["abort"] > 0, f"nobody's leaving was noticed: {reasons}"
    ok(f"{len(left)} clients vanished: {reasons['abort']} aborts; "
       f"{whole_account(run.requests + len(left), log)}")


def slow():
    """Clients that read slowly, while others are served."""
    server = Server("slow", *QUEUED, "--timeout", "10m")
    alone = Run(server, SIZE["others"], 8)
    before = alone.end()
    clients = [Client(server, LONG, buffer=4096) for _ in range(SIZE["slow"])]
    # The others must wait for slow readers only, and not for the stages that serve them.
    while not all(len(request["stages"]) == 3 and not request["open_stages"] for request in server.open_requests()):
        time.sleep(0.05)
    run, last = Run(server, SIZE["others"], 8), []
    while run.is_busy():
        for client in clients:
            client.read(512)
        time.sleep(0.05)
    beside = run.end()
    for client in clients:
        # With a buffer of 4 KiB, the rest of an answer can take minutes.
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        text = b""
        while piece := client.read(1 << 16):
            text = text[-4096:] + piece
        last.append(b"event: metrics" in text or b"event: done" in text)
    same("slow clients that had all of their answer", len(clients), sum(last))
    server.end()
    log = lines(server.log)
    most = max(line["open_requests"] for line in log if line["type"] == "summary")
    assert most >= len(clients), f"at most {most} requests were open"
    # A request is old once.
    ids = collections.Counter(line["request_id"] for line in log if line["type"] == "open")
    same("requests with two open lines", [], [id for id, times in ids.items() if times > 1])
    ok(f"{len(clients)} slow clients: the others' p99 was {before['p99_ms']:.1f} ms before and "
       f"{beside['p99_ms']:.1f} ms beside them; {len(ids)} open lines; "
       f"{whole_account(alone.requests + run.requests + len(clients), log)}")


def unread():
    """A log into a pipe that nobody reads until the end."""
    pipe = WORK / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    # Without reports, so that requests only are lost.
    server = Server("unread", "--log-stats", log=pipe)
    run = Run(server, SIZE["unread"], 8)
    result, text = run.end(), []
    os.set_blocking(reader, True)

    def read():
        while piece := os.read(reader, 1 << 16):
            text.append(piece)

    thread = threading.Thread(target=read)
    thread.start()
    server.end()
    thread.join()
    log = [json.loads(line) for line in b"".join(text).splitlines()]
    written, _, summary = account(run.requests, log)
    assert summary["lines_lost"] > 0, "the queue held all of it"
    ok(f"a log that nobody reads: {result['requests/s']:.0f} requests/s, p99 {result['p99_ms']:.1f} ms; "
       f"{run.requests} requests = {len(written)} lines + {summary['lines_lost']} lost")


def rotation():
    """The log is renamed again and again, and opened anew at each SIGHUP."""
    server, logs = Server("rotation", *QUEUED), []
    run = Run(server, SIZE["others"], 64)
    # The pace at which a run is cut into so many pieces depends on the machine, so they are counted.
    while run.is_busy() and len(logs) < SIZE["rotations"]:
        time.sleep(0.05)
        logs.append(server.log.rename(WORK / f"rotation.{len(logs)}.jsonl"))
        server.process.send_signal(signal.SIGHUP)
        while not server.log.exists():
            time.sleep(0.002)
    run.end()
    server.end()
    ok(f"{len(logs)} rotations: {whole_account(run.requests, lines(*logs, server.log))}")


def killed():
    """`kill -9` under load, and another process that goes on with the same log."""
    server = Server("killed", "--log-stats", "--report-every", "50ms")
    run = Run(server, 200_000, 8)
    while server.log.stat().st_size < 1 << 20:
        time.sleep(0.01)
    server.process.kill()
    server.process.wait()
    run.process.kill()
    run.process.wait()
    *whole, rest = server.log.read_text().split("\n")
    before = [json.loads(line) for line in whole]
    next = Server("next", "--log-stats", log=server.log)
    again = Run(next, 64, 8)
    again.end()
    next.end()
    with server.log.open() as log:
        log.seek(sum(len(line.encode()) + 1 for line in whole))
        after = [json.loads(line) for line in log.read().removeprefix(rest).splitlines() if line]
    account(again.requests, after)
    same("requests of the next process", again.requests, sum(line["type"] == "request" for line in after))
    ok(f"kill -9: {len(before)} lines were written, each of them whole, and {len(rest)} bytes of one more; "
       "the next process goes on after them")


def main():
    # Nothing here is for a proxy.
    urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
    # So that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for part in [connections, memory, vanishing, slow, unread, rotation, killed]:
            since = time.monotonic()
            part()
            print(f"    {part.__name__}: {time.monotonic() - since:.0f} s", flush=True)
    finally:
        Server.stop_all()
    print(f"{passed} passed, 0 failed")


main()
