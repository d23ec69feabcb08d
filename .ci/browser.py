"""Drives Chromium over WebDriver through the pages of `omni-metrics report`."""

import base64
import json
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

TARGET = pathlib.Path(sys.argv[1]).resolve()
READER = TARGET / "debug" / "omni-metrics"
OUT = TARGET / "browser"
LOG = pathlib.Path("tests/data/pipeline.jsonl")
PORT = 9517
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
KEYS = {"down": "\ue015", "right": "\ue014", "escape": "\ue00c", "tab": "\ue004"}


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", data, {"content-type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(error.read().decode()) from error


class Browser:
    def __init__(self):
        options = {"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,2200"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        session = call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.path = "/session/" + session["sessionId"]

    def post(self, what, body):
        return call("POST", self.path + what, body)

    def open(self, page):
        self.post("/url", {"url": page.as_uri()})

    def run(self, script):
        return self.post("/execute/sync", {"script": script, "args": []})

    def find(self, selector):
        return self.post("/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.post(f"/element/{self.find(selector)}/click", {})

    def type(self, selector, text):
        self.post(f"/element/{self.find(selector)}/value", {"text": text})

    def text(self, selector):
        return self.run(f"return document.querySelector({json.dumps(selector)}).textContent")

    def media(self, name, value, media="screen"):
        params = {"media": media, "features": [{"name": name, "value": value}]}
        self.post("/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": params})

    def screenshot(self, name):
        (OUT / name).write_bytes(base64.b64decode(call("GET", self.path + "/screenshot")))

    def log(self, kind):
        return self.post("/se/log", {"type": kind})


def same(what, expected, found):
    assert expected == found, f"{what}: expected {expected!r}, found {found!r}"


def report(name, log):
    page = OUT / name
    subprocess.run([READER, "report", log, "-o", page], check=True)
    return page


def check_page(browser):
    lines = [json.loads(line) for line in LOG.read_text().splitlines()]
    requests = [line for line in lines if line["type"] == "request"]
    requests.sort(key=lambda line: -line["e2e_table"]["e2e_total_ms"])
    page = report("report.html", LOG)
    browser.open(page)

    same("tiles", "40", browser.text(".tiles dd"))
    same("requests in the list", 40, browser.run("return document.querySelectorAll('#requests li').length"))
    listed = browser.run("return [...document.querySelectorAll('#requests li span:first-child')].map(e => e.textContent)")
    same("slowest first", [line["request_id"] for line in requests], listed)

    browser.click("#requests li:nth-child(3)")
    same("a click shows the request", requests[2]["request_id"], browser.text("#waterfall h3"))
    rows = len(requests[2]["stage_table"]) + len(requests[2]["transfer_table"]) + 1
    same("its rows, and the queue", rows, browser.run("return document.querySelectorAll('.lane').length"))
    browser.type("#requests", KEYS["down"])
    same("a key shows the next", requests[3]["request_id"], browser.text("#waterfall h3"))
    wrong = browser.run(
        "return [...document.querySelectorAll('.track')].filter(track => [...track.children].some(bar =>"
        " bar.getBoundingClientRect().left < track.getBoundingClientRect().left - 1)).length")
    same("bars outside of their tracks", 0, wrong)

    browser.type("#search", "req-0017")
    same("the search finds", "1 request", browser.text("#found"))
    same("and shows", "req-0017", browser.text("#waterfall h3"))
    browser.type("#search", "nowhere")
    same("or says that it does not", "No request has such an id.", browser.text("#waterfall"))
    browser.run("const s = document.getElementById('search'); s.value = ''; s.dispatchEvent(new Event('input'))")

    browser.run("document.querySelector('.columns').focus()")
    browser.type(".columns", KEYS["right"])
    assert "1 request" in browser.text("#tip"), browser.text("#tip")
    browser.type(".columns", KEYS["escape"])
    same("Escape hides the explanation", True, browser.run("return document.getElementById('tip').hidden"))
    reached = browser.run(
        "return [...document.querySelectorAll('.columns, .bar, .lane, #search, #requests, summary')]"
        ".every(e => e.tabIndex === 0)")
    same("the keyboard reaches everything", True, reached)
    unnamed = browser.run("return [...document.querySelectorAll('[role=img], [role=listbox]')].filter(e => !e.getAttribute('aria-label')).length")
    same("pictures without a text", 0, unnamed)

    backs = []
    for scheme in ["light", "dark"]:
        browser.media("prefers-color-scheme", scheme)
        backs.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
        browser.screenshot(f"{scheme}.png")
    assert backs[0] != backs[1], backs
    # What is behind a chart, and what the chart is drawn in.
    charts = [("section", ".column > div"), ("section", ".bar > div"), (".track", ".track > div[class^=stage]")]
    colour = "return getComputedStyle(document.querySelector({})).backgroundColor"
    for feature, value, media in [("forced-colors", "active", "screen"), ("prefers-color-scheme", "dark", "print")]:
        browser.media(feature, value, media)
        for back, front in charts:
            shown = [browser.run(colour.format(json.dumps(part))) for part in (back, front)]
            assert shown[0] != shown[1] and shown[1] != "rgba(0, 0, 0, 0)", (feature, front, shown)
            adjusted = browser.run(f"return getComputedStyle(document.querySelector({json.dumps(front)})).printColorAdjust")
            same(f"colours of {front} on paper", "exact", adjusted)
        browser.screenshot(f"{media}-{feature}.png")
    same("paper is light", backs[0], browser.run("return getComputedStyle(document.body).backgroundColor"))
    browser.media("prefers-color-scheme", "light")
    browser.post("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": {"width": 390, "height": 2600, "deviceScaleFactor": 1, "mobile": True}})
    same("a phone needs no scrolling aside", True, browser.run("return document.documentElement.scrollWidth <= innerWidth"))
    browser.screenshot("phone.png")


def check_hostile(browser):
    """Ids that would run as a script, if they could."""
    hostile = OUT / "hostile.jsonl"
    evil = '</script><script>document.title="broken"</script><img src=x onerror="document.title=\'broken\'">{{ 7 * 7 }}'
    lines = [json.loads(line) for line in LOG.read_text().splitlines()[:5]]
    for line in lines:
        line["request_id"] = evil
        line["e2e_table"]["finish_reason"] = evil
        line["stage_table"][0]["stage_name"] = evil
        line["warnings"] = [evil]
    hostile.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    browser.open(report("hostile.html", hostile))
    same("the id is a text", evil, browser.text("#waterfall h3"))
    assert "broken" not in browser.run("return document.title")


def check_large(browser):
    """A million requests make a page that is no larger than it must be."""
    large = OUT / "large.jsonl"
    lines = [json.loads(line) for line in LOG.read_text().splitlines()[:40]]
    with large.open("w") as log:
        for n in range(1_000_000):
            line = lines[n % 40]
            line["request_id"] = f"request-{n:07}"
            line["e2e_table"]["e2e_total_ms"] = 10 + n % 9973 / 10
            log.write(json.dumps(line, separators=(",", ":")) + "\n")
    page = report("large.html", large)
    large.unlink()
    size = page.stat().st_size
    assert size < 5_000_000, size
    start = time.monotonic()
    browser.open(page)
    same("tiles", "1,000,000", browser.text(".tiles dd"))
    assert "A sample: the 400 slowest of 1,000,000 requests" in browser.run("return document.body.innerText")
    same("the search finds in the sample", "1,000 requests of the 1,000 in this page, the slowest 200 are listed", browser.text("#found"))
    browser.type("#search", "it's nowhere")
    said = browser.text("#waterfall")
    assert "Only 1,000 of 1,000,000 requests are in this page" in said, said
    same("and names the command", f"omni-metrics tables --request 'it'\\''s nowhere' {large}", browser.text("#waterfall pre"))
    print(f"a page of 1,000,000 requests: {size / 1e6:.2f} MB, open after {time.monotonic() - start:.2f} s")


def main():
    OUT.mkdir(exist_ok=True)
    driver = subprocess.Popen(["chromedriver", f"--port={PORT}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while driver.poll() is None:
            try:
                if call("GET", "/status")["ready"]:
                    break
            except (AssertionError, OSError):
                time.sleep(0.1)
        browser = Browser()
        check_page(browser)
        check_hostile(browser)
        check_large(browser)
        same("console", [], browser.log("browser"))
        sent = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
        urls = [entry["params"]["request"]["url"] for entry in sent if entry["method"] == "Network.requestWillBeSent"]
        same("requests to elsewhere", [], [url for url in urls if not url.startswith(("file:", "data:"))])
        call("DELETE", browser.path)
        print("3 passed, 0 failed")
    finally:
        driver.terminate()


main()
