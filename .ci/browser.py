"""Drives Chromium over WebDriver through the pages of `omni-metrics report`."""

import base64
import datetime
import gzip
import json
import pathlib
import subprocess
import sys
import time

import webdriver

TARGET = pathlib.Path(sys.argv[1]).resolve()
READER = TARGET / "debug" / "omni-metrics"
OUT = TARGET / "browser"
LOG = pathlib.Path("tests/data/pipeline.jsonl")
PORT = 9517
KEYS = {"down": "\ue015", "left": "\ue012", "right": "\ue014", "end": "\ue010", "home": "\ue011", "escape": "\ue00c", "enter": "\ue007", "shift": "\ue008"}


class Browser(webdriver.Browser):
    def open(self, page):
        super().open(page.as_uri())

    def click(self, selector):
        self.post(f"/element/{self.find(selector)}/click", {})

    def type(self, selector, text):
        self.post(f"/element/{self.find(selector)}/value", {"text": text})

    def drag(self, selector, start, stop, height=0.5):
        """Presses at a share of the width of an element, and lets go at another."""
        box = self.run(f"const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
                       "const {left, top, width, height} = e.getBoundingClientRect(); return [left, top, width, height]")
        x, y = (lambda share: round(box[0] + share * box[2])), round(box[1] + height * box[3])
        moves = [{"type": "pointerMove", "x": x(share), "y": y} for share in (start, (start + stop) / 2, stop)]
        actions = [moves[0], {"type": "pointerDown", "button": 0}, *moves[1:], {"type": "pointerUp", "button": 0}]
        self.post("/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": actions}]})

    def text(self, selector):
        return self.run(f"return document.querySelector({json.dumps(selector)}).textContent")

    def media(self, name, value, media="screen"):
        params = {"media": media, "features": [{"name": name, "value": value}]}
        self.post("/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": params})

    def screenshot(self, name):
        (OUT / name).write_bytes(base64.b64decode(self.call("GET", "/screenshot")))


def same(what, expected, found):
    assert expected == found, f"{what}: expected {expected!r}, found {found!r}"


def await_that(what, is_so):
    for _ in range(600):
        if is_so():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what}: it did not come")


def report(name, log, *arguments):
    page = OUT / name
    subprocess.run([READER, "report", log, "-o", page, *arguments], check=True)
    return page


def requests_of(log):
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    requests = [line for line in lines if line["type"] == "request"]
    return sorted(requests, key=lambda line: -line["e2e_table"]["e2e_total_ms"])


LISTED = "return [...document.querySelectorAll('#list tbody a')].map(e => e.textContent)"


def check_list(browser, requests):
    """The list: its order by any column, the keys, the search."""
    ids = [line["request_id"] for line in requests]
    same("slowest first", ids, browser.run(LISTED))
    same("and the slowest is shown", ids[0], browser.text("#waterfall h3"))
    browser.click("#list tbody tr:nth-child(3)")
    same("a click shows the request", ids[2], browser.text("#waterfall h3"))
    rows = len(requests[2]["stage_table"]) + len(requests[2]["transfer_table"]) + 1
    same("who was in its way", True, browser.text("#waterfall .way").startswith("In the way: stage 2 code2wav worked for "))
    same("its rows, and the critical path", rows, browser.run("return document.querySelectorAll('.lane').length"))
    same("the address names it", f"#request={ids[2]}", browser.run("return location.hash"))
    browser.type("#list tbody tr:nth-child(3) a", KEYS["down"])
    same("a key shows the next", ids[3], browser.text("#waterfall h3"))

    sorts = "return [...document.querySelectorAll('#list th')].map(e => e.getAttribute('aria-sort'))"
    same("sorted by", "descending", browser.run(sorts)[2])
    browser.click("#list th:nth-child(3) button")
    same("the other way round", ids[::-1], browser.run(LISTED))
    browser.click("#list th:nth-child(1) button")
    same("by id", sorted(ids), browser.run(LISTED))
    same("and says so", ["ascending"] + ["none"] * 5, browser.run(sorts))
    browser.click("#list th:nth-child(5) button")
    tokens = {line["request_id"]: line["e2e_table"]["e2e_total_tokens"] for line in requests}
    listed = [tokens[one] for one in browser.run(LISTED)]
    same("most tokens first", sorted(listed, reverse=True), listed)
    browser.click("#list th:nth-child(3) button")

    browser.type("#search", "req-0017")
    same("the search finds", "1 request", browser.text("#found"))
    same("and shows", "req-0017", browser.text("#waterfall h3"))
    browser.type("#search", "nowhere")
    same("or says that it does not", "No request has such an id.", browser.text("#waterfall"))
    browser.run("const s = document.getElementById('search'); s.value = ''; s.dispatchEvent(new Event('input'))")


def check_waterfall(browser, request):
    """Bars within their tracks, the zoom, and the button that copies the id."""
    outside = (
        "return [...document.querySelectorAll('.track')].filter(track => [...track.children].some(bar =>"
        " bar.getBoundingClientRect().left < track.getBoundingClientRect().left - 20)).length")
    same("bars outside of their tracks", 0, browser.run(outside))
    same("all moments of the ruler have texts", True, browser.run("const all = [...document.querySelectorAll('.rule')]; return all.length > 1 && all.every(e => e.textContent)"))
    whole = browser.text(".zoom span")
    width = (
        "const pieces = [...document.querySelectorAll('.lane:nth-child(4) .piece')].map(e => e.getBoundingClientRect());"
        " return pieces.at(-1).right - pieces[0].left")
    narrow = browser.run(width)
    browser.type(".lane:nth-child(4)", KEYS["enter"])
    assert browser.run(width) > 3 * narrow, (narrow, browser.run(width))
    same("the lane keeps the keys", True, browser.run("return document.activeElement.matches('.lane:nth-child(4)')"))
    browser.type(".lane:nth-child(4)", KEYS["enter"])
    same("and back", whole, browser.text(".zoom span"))
    browser.click(".zoom button[aria-label='Zoom in']")
    assert browser.text(".zoom span") != whole
    browser.click(".zoom button:nth-child(5)")
    same("the whole request", whole, browser.text(".zoom span"))
    browser.type(".lane:nth-child(4)", KEYS["enter"] + KEYS["escape"])
    same("Escape shows it too", whole, browser.text(".zoom span"))
    told = browser.run("return document.querySelector('.lane:nth-child(3)').getAttribute('aria-label')")
    batch = next(row["batch_id"] for row in request["stage_table"] if told.startswith(f"stage {row['stage_id']}:"))
    same("an id is no amount", batch is None or f"batch id {batch}, " in told, True)
    browser.run("""
        window.told = [];
        const button = document.querySelector('#waterfall > button');
        new MutationObserver(() => told.push(button.textContent)).observe(button, {childList: true})""")
    browser.click("#waterfall > button")
    await_that("the id is copied", lambda: browser.run("return told[0]") in ("Copied", "Selected"))


def check_brush(browser, requests):
    """A part of the time that is selected, with the pointer and with keys."""
    count = "return document.querySelectorAll('#list tbody tr').length"
    place = "return document.getElementById('in-flight').offsetTop"
    height = browser.run(place)
    browser.drag("#in-flight .field", 0.3, 0.6)
    assert "in flight" in browser.text("#selected span"), browser.text("#selected span")
    same("the charts stay where they are", height, browser.run(place))
    some = browser.run(count)
    assert 0 < some < len(requests), some
    same("the bar says it", str(some), browser.text("#bars h3").split("(")[1].split(")")[0])
    assert browser.text("#selected span").split(": ")[1].startswith(f"{some} request"), browser.text("#selected span")
    same("the distribution too", True, browser.run("return document.querySelector('.chosen').getAttribute('d') !== ''"))
    same("and the list", True, browser.text("#found").endswith(", of the selected time"))
    address = browser.run("return location.href")
    browser.click("#selected button")
    same("the whole run again", len(requests), browser.run(count))
    same("no selection", True, browser.run("return document.getElementById('selected').hidden"))

    # A link to another place of the same page does not load it anew.
    browser.post("/url", {"url": "about:blank"})
    browser.post("/url", {"url": address})
    same("the address has the time", some, browser.run(count))
    browser.click("#selected button")

    chart = "#in-flight .field"
    browser.type(chart, KEYS["right"] * 3)
    assert " to " in browser.text("#tip"), browser.text("#tip")
    browser.type(chart, KEYS["shift"] + KEYS["right"] * 40)
    assert 0 < browser.run(count) < len(requests), browser.run(count)
    browser.type(chart, KEYS["escape"])
    same("Escape selects all", len(requests), browser.run(count))
    same("and hides the explanation", True, browser.run("return document.getElementById('tip').hidden"))


def check_points(browser, requests):
    """A click on a point opens its waterfall, and a link too."""
    wanted = requests[7]["request_id"]
    place = browser.run(
        f"const r = requests.find(r => r.id === {json.dumps(wanted)}); return [ofTime(r.at), 1 - ofLatency(r.e2e)]")
    browser.drag("#latency .field", place[0], place[0], place[1])
    same("the point's request", wanted, browser.text("#waterfall h3"))
    browser.type("#latency .field", KEYS["home"] + KEYS["enter"])
    same("Enter leads to the waterfall", "waterfall", browser.run("return document.activeElement.id"))
    browser.type("#waterfall", KEYS["escape"])
    same("and Escape back", True, browser.run("return document.activeElement === scatter"))
    browser.run(f"location.hash = 'request={requests[11]['request_id']}'")
    await_that("the request of the address", lambda: browser.text("#waterfall").startswith(requests[11]["request_id"]))
    browser.run("location.hash = 'request=nowhere'")
    await_that("or none", lambda: browser.text("#waterfall") == "No request has such an id.")
    same("and none is marked in the list", 0, browser.run("return document.querySelectorAll('#list [aria-selected=true]').length"))
    browser.run(f"location.hash = 'request={requests[0]['request_id']}'")


def check_names(browser):
    """What the keyboard reaches, and what a screen reader is told."""
    reached = browser.run(
        "return [...document.querySelectorAll('.field, .bar, .lane, #search, #list th button, summary')]"
        ".every(e => e.tabIndex === 0)")
    same("the keyboard reaches everything", True, reached)
    same("and the list in one step", 1, browser.run("return [...document.querySelectorAll('#list a')].filter(e => e.tabIndex === 0).length"))
    browser.type("#distribution .field", KEYS["right"])
    assert "request" in browser.text("#tip"), browser.text("#tip")
    browser.type("#bars .bar", KEYS["right"])
    assert " a request, " in browser.text("#tip"), browser.text("#tip")
    unnamed = browser.run("return [...document.querySelectorAll('[role=img], button')].filter(e => !e.getAttribute('aria-label') && !e.textContent).length")
    same("pictures and buttons without a text", 0, unnamed)


def overlaps(browser):
    """Texts of one axis that touch each other, that the page cuts, or that stick out of their chart."""
    return browser.run("""
        const found = [];
        for (const field of document.querySelectorAll('.field, .ruler > div')) {
            for (const axis of ['.x', '.y', '.mark span', '.across span', '.rule']) {
                const boxes = [...field.querySelectorAll(axis)].map(e => [e.textContent, e.getBoundingClientRect()]).filter(([, box]) => box.width);
                boxes.forEach(([text, one], n) => {
                    if (one.left < 0 || one.right > innerWidth) found.push(text + ' is cut');
                    const inside = field.getBoundingClientRect();
                    if (!/[xy]/.test(axis) && (one.left < inside.left - 4 || one.right > inside.right + 4)) found.push(text + ' sticks out of its chart');
                    boxes.slice(n + 1).forEach(([other, two]) => {
                        if (one.left < two.right && two.left < one.right && one.top < two.bottom && two.top < one.bottom) found.push(text + ' on ' + other);
                    });
                });
            }
        }
        return found""")


def check_looks(browser, name):
    """Dark, print, forced colours, a phone: what is drawn differs from what is behind it, and no text is cut."""
    wide = {"cmd": "Emulation.setDeviceMetricsOverride", "params": {"width": 1200, "height": 2600, "deviceScaleFactor": 1, "mobile": False}}
    browser.post("/goog/cdp/execute", wide)
    backs = []
    for scheme in ["light", "dark"]:
        browser.media("prefers-color-scheme", scheme)
        backs.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
        same(f"texts, {scheme}", [], overlaps(browser))
        check_contrast(browser, scheme)
        browser.screenshot(f"{name}-{scheme}.png")
    assert backs[0] != backs[1], backs
    # What is behind a chart, and what the chart is drawn in.
    charts = [("section", "#in-flight path.area", "fill"), ("section", ".bar > [class^=stage]", "backgroundColor"),
              ("section", "#latency path.p50", "stroke"), ("section", ".piece[class*=stage]:not(.waiting)", "backgroundColor")]
    if browser.run("return document.querySelector('.across') !== null"):
        charts += [("section", ".across", "borderTopColor"), ("section", ".mark.limit", "borderLeftColor"), ("section", ".tick.limit", "borderLeftColor")]
    colour = "return getComputedStyle(document.querySelector({}))[{}]"
    for feature, value, media in [("forced-colors", "active", "screen"), ("prefers-color-scheme", "dark", "print")]:
        browser.media(feature, value, media)
        for back, front, attribute in charts:
            shown = [browser.run(colour.format(json.dumps(part), json.dumps(what))) for part, what in ((back, "backgroundColor"), (front, attribute))]
            assert shown[0] != shown[1] and shown[1] not in ("none", "rgba(0, 0, 0, 0)"), (feature, front, shown)
            adjusted = browser.run(f"return getComputedStyle(document.querySelector({json.dumps(front)}).closest('.field, .bar, .track, path')).printColorAdjust")
            same(f"colours of {front} on paper", "exact", adjusted)
        check_contrast(browser, feature)
        browser.run("showTip('a tip', 9, 9)")
        same("a tip is readable", True, browser.run("const {color, backgroundColor} = getComputedStyle(tip); return color !== backgroundColor"))
        browser.run("hideTip()")
        browser.screenshot(f"{name}-{media}-{feature}.png")
    same("paper is light", backs[0], browser.run("return getComputedStyle(document.body).backgroundColor"))
    same("paper has no controls", "none", browser.run(colour.format('".chooser"', '"display"')))
    paper = base64.b64decode(browser.post("/print", {"background": False}))
    assert paper.startswith(b"%PDF"), paper[:20]
    (OUT / f"{name}.pdf").write_bytes(paper)
    browser.media("prefers-color-scheme", "light")
    for width in [320, 375, 390]:
        wide["params"].update({"width": width, "mobile": True})
        browser.post("/goog/cdp/execute", wide)
        same(f"a phone of {width} pixels needs no scrolling aside", width, browser.run("return document.documentElement.scrollWidth"))
        same(f"texts on a phone of {width} pixels", [], overlaps(browser))
    browser.screenshot(f"{name}-phone.png")
    wide["params"].update({"width": 1200, "mobile": False})
    browser.post("/goog/cdp/execute", wide)


def check_page(browser):
    requests = requests_of(LOG)
    browser.open(report("report.html", LOG, "--slo", "e2e=20ms", "--slo", "first_output@0=1ms", "--slo", "e2e=0.012345678s@95.125%"))
    same("tiles", "40", browser.text(".tiles dd"))
    same("the limit in the chart", "objective e2e=20ms", browser.run("return [...document.querySelectorAll('#latency .across span')].at(-1).textContent"))
    same("and where it stands", True, browser.run(
        "const [line, field] = ['.across', '.field'].map(e => [...document.querySelectorAll('#latency ' + e)].at(-1).getBoundingClientRect());"
        "return Math.abs(line.top + line.height / 2 - field.top - (1 - ofLatency(20)) * field.height) < 2"))
    same("limits in a waterfall", ["objective e2e=20ms", "objective e2e=0.012345678s@95.125%", "objective first_output@0=1ms"],
         browser.run("return [...document.querySelectorAll('.tick.limit')].map(e => e.dataset.tip)"))
    same("objectives", "e2e=20ms", browser.text("main table th[scope=row]"))
    check_list(browser, requests)
    check_waterfall(browser, requests[0])
    check_brush(browser, requests)
    check_points(browser, requests)
    check_names(browser)
    check_looks(browser, "small")


def check_stray(browser):
    """A request of last week does not take the charts from the others, and a button leads to it."""
    log = OUT / "stray.jsonl"
    lines = LOG.read_text().splitlines()
    stray = lines[5].replace("2026-11-24T", "2026-11-17T").replace("req-0006", "stray")
    assert "stray" in stray
    log.write_text("\n".join([*lines, stray]) + "\n")
    browser.open(report("stray.html", log))
    same("points", 40, browser.run("return document.querySelector('#latency path.dots').getAttribute('d').split('M').length - 1"))
    spread = "const {left, width} = document.querySelector('#latency svg').getBoundingClientRect(); return requests.filter(r => isShown(r.at) && ofTime(r.at) > 0.25).length"
    assert browser.run(spread) > 20, browser.run(spread)
    browser.click("[data-outside=before]")
    same("the list has it", ["stray"], browser.run(LISTED))
    same("with its day", True, browser.text("#list td:nth-child(2)").startswith("2026-11-17 08:46:40."))
    same("and so has the waterfall", "stray", browser.text("#waterfall h3"))
    same("the bar says when", True, browser.text("#selected span").startswith("2026-11-17 08:46:40."))
    same("no ring around a point", True, browser.run("return ring.hidden"))
    address = browser.run("return location.href")
    browser.click("#selected button")
    same("the whole run", 41, len(browser.run(LISTED)))
    browser.post("/url", {"url": "about:blank"})
    browser.post("/url", {"url": address})
    same("a link leads to it too", ["stray"], browser.run(LISTED))
    browser.type("#in-flight .field", KEYS["escape"] + KEYS["right"])
    assert browser.text("#tip").startswith("2026-11-17 08:46:40."), browser.text("#tip")
    browser.drag("#in-flight .field", 0.0, 1.0)
    same("the brush selects what the charts show", 40, len(browser.run(LISTED)))
    check_looks(browser, "stray")


def check_joined(browser):
    """A log joined from those of several processes, whose clocks differ and of which some died."""
    logs, log = OUT / "fleet", OUT / "joined.jsonl"
    subprocess.run([TARGET / "debug" / "omni_fleet", "run", "--requests", "150", "--rate", "20", "--processes", "6", "--restarts", "2",
                    "--out", logs], check=True, stdout=subprocess.DEVNULL)
    with log.open("w") as joined:
        subprocess.run([READER, "join", *sorted(logs.glob("*.jsonl"))], check=True, stdout=joined, stderr=subprocess.DEVNULL)
    requests = requests_of(log)
    assert len({len(line["stage_table"]) for line in requests}) > 1 and len(requests) < 200, len(requests)
    browser.open(report("joined.html", log, "--slo", "e2e=500ms@90%", "--slo", "e2e=1s", "--slo", "first_output@1=200ms"))
    same("tiles", str(len(requests)), browser.text(".tiles dd"))
    same("slowest first", [line["request_id"] for line in requests], browser.run(LISTED))
    same("its rows, and the critical path", len(requests[0]["stage_table"]) + len(requests[0]["transfer_table"]) + 1,
         browser.run("return document.querySelectorAll('.lane').length"))
    failed = [line["request_id"] for line in requests if line["e2e_table"].get("errors") or line["e2e_table"].get("finish_reason") not in (None, "stop", "length")]
    for ending, expected in [("failed", failed), ("", [line["request_id"] for line in requests])]:
        browser.run(f"const e = document.getElementById('ending'); e.value = {json.dumps(ending)}; e.dispatchEvent(new Event('change'))")
        same(f"those that ended so: {ending}", expected, browser.run(LISTED))
    browser.click("#list tbody tr:nth-child(1)")
    check_waterfall(browser, requests[0])
    check_brush(browser, requests)
    check_names(browser)
    check_looks(browser, "joined")


def check_hostile(browser):
    """Ids that would run as a script, if they could."""
    hostile = OUT / "hostile.jsonl"
    evil = '</script><script>document.title="broken"</script><img src=x onerror="document.title=\'broken\'">{{ 7 * 7 }}'
    lines = [json.loads(line) for line in LOG.read_text().splitlines()[:5]]
    for line in lines:
        line["request_id"] = evil
        line["e2e_table"]["finish_reason"] = evil
        line["stage_table"][0]["stage_name"] = evil
        line["warnings"] = [evil, "w" * 1000]
    hostile.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))
    browser.open(report("hostile.html", hostile))
    same("the id is a text", evil, browser.text("#waterfall h3"))
    assert "broken" not in browser.run("return document.title")
    same("long words need no scrolling aside", True, browser.run("return document.documentElement.scrollWidth <= innerWidth"))


CONTRAST = """
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const lightness = (colour) => {
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        const [red, green, blue] = [...canvas.getImageData(0, 0, 1, 1).data].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05;
    };
    const card = lightness(getComputedStyle(document.querySelector("section")).backgroundColor);
    const contrast = (colour) => { const one = lightness(colour); return Math.max(one, card) / Math.min(one, card); };
    const found = [];
    for (const [selector, attribute] of arguments[0]) for (const drawn of document.querySelectorAll(selector)) {
        const colour = getComputedStyle(drawn)[attribute].replace(/ 0px 0px 0px 1px inset$/, "");
        if (!(contrast(colour) >= 3)) found.push([selector, drawn.getAttribute("class"), colour, contrast(colour)]);
    }
    return found"""
# What tells a drawn thing from the card.
DRAWN = [("path.dots", "stroke"), ("path.line", "stroke"), ("path.edge", "stroke"), ("path.fill", "fill"), ("path.area", "fill"), ("path.columns:not(.narrowed *), path.chosen", "fill"), (".narrowed path.columns:not(.chosen)", "stroke"),
         ("path.density", "fill"), (".bar > div", "boxShadow"), ("i:not(.dots, .line)", "boxShadow"), ("i.dots, i.line", "backgroundColor"),
         (".piece", "boxShadow"), (".tick:not(.limit)", "backgroundColor")]


def check_contrast(browser, name):
    same(f"contrasts below 3:1, {name}", [], browser.run(CONTRAST, DRAWN))


def check_many_stages(browser):
    """Forty stages look different wherever they are shown."""
    log = OUT / "stages.jsonl"
    lines = [json.loads(line) for line in LOG.read_text().splitlines()[:40]]
    requests = [line for line in lines if line["type"] == "request"]
    with log.open("w") as out:
        for line in requests:
            row = line["stage_table"][0]
            line["transfer_table"] = []
            line["stage_table"] = [
                {**row, "stage_id": id, "stage_name": f"step {id}", "queue_time_ms": 1.0, "start_ms": 2.0 + 4 * id,
                 "stage_gen_time_ms": 1.0 + id * 7 % 40 / 20} for id in range(40)]
            for stage in line["stage_table"]:
                stage.pop("first_output_ms", None)
            line["e2e_table"].update({"e2e_total_ms": 165.0, "queue_time_ms": 1.0})
            out.write(json.dumps(line, separators=(",", ":")) + "\n")
    browser.open(report("stages.html", log))
    for selector, number in [(".lane:not(:nth-child(2)) .piece:not(.waiting)", 40), (".lane:nth-child(2) .piece[class*=stage-]", 80)]:
        looks = f"return new Set([...document.querySelectorAll({json.dumps(selector)})].map(e => getComputedStyle(e).background)).size"
        same(f"looks of {selector}", number, browser.run(looks))
    same("and all have names", 0, browser.run("return document.querySelectorAll('.piece.others').length"))
    check_looks(browser, "stages")


def check_large(browser):
    """A million requests make a page that is no larger than it must be."""
    large = OUT / "large.jsonl.gz"
    lines = [json.loads(line) for line in LOG.read_text().splitlines()[:40]]
    for line in lines:
        line["stage_table"], line["transfer_table"] = line["stage_table"][:1], []
    start = datetime.datetime(2026, 11, 24, 8, 0, tzinfo=datetime.timezone.utc)
    with gzip.open(large, "wt", compresslevel=1) as log:
        for n in range(1_000_000):
            line = lines[n % 40]
            line["request_id"] = f"request-{n:07}"
            line["e2e_table"]["e2e_total_ms"] = 30 + n % 9973 / 10
            line["e2e_table"]["finish_reason"] = "stop" if n % 1000 else "error"
            line["timestamp"] = (start + datetime.timedelta(milliseconds=n)).isoformat(timespec="microseconds").replace("+00:00", "Z")
            log.write(json.dumps(line, separators=(",", ":")) + "\n")
    page = report("large.html", large)
    large.unlink()
    size = page.stat().st_size
    assert size < 1_500_000, size
    start = time.monotonic()
    browser.open(page)
    same("tiles", "1,000,000", browser.text(".tiles dd"))
    took = time.monotonic() - start
    assert "A sample: the 300 slowest of 1,000,000 requests" in browser.run("return document.body.innerText")
    shown = browser.run("return requests.length")
    same("the list is of the sample", f"{shown:,} requests of the {shown:,} in this page, 200 of them are listed", browser.text("#found"))
    same("a density", True, browser.run("return document.querySelectorAll('#latency path.density').length > 3"))
    keys = browser.run("return [...document.querySelectorAll('#latency .key')].map(e => e.textContent)")
    points = {key.split(":")[0]: key.split()[-5:-2] for key in keys if key.endswith(" as points")}
    of = {name: int(total.replace(",", "")) for name, (_, _, total) in points.items()}
    assert of == {"completed": 999_000, "failed, not aborted": 1_000}, keys
    same("the points are the sample", shown, sum(int(some) for some, _, _ in points.values()))
    browser.drag("#latency .field", 0.25, 0.5)
    assert browser.run("return sum(selectedStretches()).requests") > 200_000
    assert browser.run("return listed.every(isSelected) && listed.length > 10")
    browser.click("#selected button")
    browser.type("#search", "it's nowhere")
    said = browser.text("#waterfall")
    assert f"Only {shown} of 1,000,000 requests are in this page" in said, said
    same("and names the command", f"omni-metrics tables --request 'it'\\''s nowhere' {large}", browser.text("#waterfall pre"))
    browser.run("const s = document.getElementById('search'); s.value = ''; s.dispatchEvent(new Event('input'))")
    check_looks(browser, "large")
    print(f"a page of 1,000,000 requests: {size / 1e6:.2f} MB, open after {took:.2f} s")


def main():
    OUT.mkdir(exist_ok=True)
    with webdriver.browser(Browser, PORT) as browser:
        check_page(browser)
        check_stray(browser)
        check_joined(browser)
        check_hostile(browser)
        check_many_stages(browser)
        check_large(browser)
        same("console", [], browser.log("browser"))
        sent = [json.loads(entry["message"])["message"] for entry in browser.log("performance")]
        urls = [entry["params"]["request"]["url"] for entry in sent if entry["method"] == "Network.requestWillBeSent"]
        same("requests to elsewhere", [], [url for url in urls if not url.startswith(("file:", "data:"))])
    print("6 passed, 0 failed")


main()
