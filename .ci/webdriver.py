"""A headless Chromium, driven over WebDriver."""

import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]


class Browser:
    def __init__(self, port):
        self.port = port
        options = {"args": [*FLAGS, "--window-size=1200,2200"]}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
            "timeouts": {"script": 120_000, "pageLoad": 300_000},
        }
        self.path = ""
        self.path = "/session/" + self.post("/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]

    def call(self, method, what, body=None):
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.port}{self.path}{what}"
        request = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from error

    def post(self, what, body):
        return self.call("POST", what, body)

    def open(self, url):
        self.post("/url", {"url": url})

    def run(self, script, *arguments):
        return self.post("/execute/sync", {"script": script, "args": list(arguments)})

    def wait_for(self, script, *arguments):
        """Runs a script that calls its last argument with the result."""
        return self.post("/execute/async", {"script": script, "args": list(arguments)})

    def find(self, selector):
        return self.post("/element", {"using": "css selector", "value": selector})[ELEMENT]

    def log(self, kind):
        return self.post("/se/log", {"type": kind})


@contextlib.contextmanager
def browser(kind, port):
    """Starts a driver, and gives a browser of this kind; both end with the block."""
    driver = subprocess.Popen(["chromedriver", f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while driver.poll() is None and not is_ready(port):
            time.sleep(0.1)
        opened = kind(port)
        yield opened
        opened.call("DELETE", "")
    finally:
        driver.terminate()


def is_ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/status") as answer:
            return json.load(answer)["value"]["ready"]
    except OSError:
        return False
