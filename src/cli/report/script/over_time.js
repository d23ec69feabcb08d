// The charts over time: what the pointer or the arrow keys are at, the brush, and points that open a waterfall.
const overTime = [...document.querySelectorAll(".over-time .field")];
const ofTime = (moment) => (moment - run.time[0]) / (run.time[1] - run.time[0] || 1);
const ofLatency = (millis) => Math.log(Math.max(millis, run.latency[0]) / run.latency[0]) / Math.log(run.latency[1] / run.latency[0]);
const inPercent = (share) => Math.max(0, Math.min(share, 1)) * 100 + "%";
const span = (box, first, last) => {
  const [left, right] = [ofTime(stretches[first].from), ofTime(stretches[last].to)].map((at) => Math.max(0, Math.min(at, 1)));
  box.style.left = left * 100 + "%";
  box.style.width = (right - left) * 100 + "%";
};

const layers = overTime.map((field) => {
  const [cursor, before, after] = ["cursor", "shade", "shade"].map((className) => make("div", className));
  for (const box of [cursor, before, after]) box.hidden = true;
  field.append(before, after, cursor);
  return { cursor, before, after };
});
whenSelected(() => layers.forEach(({ before, after }) => {
  before.hidden = after.hidden = !selected;
  if (!selected) return;
  const [from, to] = selectedTime();
  Object.assign(before.style, { left: 0, width: inPercent(ofTime(from)) });
  Object.assign(after.style, { left: inPercent(ofTime(to)), right: 0 });
}));

// The stretch at the cursor, which all charts show.
let at = null;
const moveTo = (stretch, field, last = stretch) => {
  at = Math.max(0, Math.min(stretch, stretches.length - 1));
  const { from, to } = stretches[at];
  layers.forEach(({ cursor }) => {
    cursor.hidden = false;
    span(cursor, Math.min(at, last), Math.max(at, last));
  });
  const { left, top, width } = field.getBoundingClientRect();
  const text = `${clock(from)} to ${clock(to)}: ${tellStretches(sum([stretches[at]]))}`;
  return (x = left + ofTime((from + to) / 2) * width, y = top) => showTip(text, x, y);
};
const leave = () => {
  layers.forEach(({ cursor }) => (cursor.hidden = true));
  near.hidden = true;
};

// Points: those that have a waterfall are found by their place.
const scatter = element("latency").querySelector(".field");
const [ring, near] = ["ring", "ring near"].map((className) => make("div", className));
const encircle = (box, request) => {
  box.hidden = !request || !isShown(request.at);
  if (box.hidden) return;
  box.style.left = inPercent(ofTime(request.at));
  box.style.bottom = `calc(${inPercent(ofLatency(request.e2e))} - 7px)`;
  box.style.top = "auto";
};
ring.hidden = near.hidden = true;
scatter.append(ring, near);
const hasDensity = Boolean(scatter.querySelector(".density"));
if (hasDensity || "sampled" in element("search").dataset) {
  element("latency").classList.add("sampled");
  const { requests: begun, failed, aborted } = sum(stretches.slice(firstShown, lastShown + 1));
  const all = { completed: begun - failed, aborted, unaborted: failed - aborted };
  const paths = (some) => some.map(({ at, e2e }) => `M${Math.round(ofTime(at) * 2000)} ${Math.round((1 - ofLatency(e2e)) * 1000)}h0`).join("");
  const put = (className, some) => {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", className);
    path.setAttribute("d", paths(some));
    scatter.querySelector(".line").before(path);
  };
  if (hasDensity) put("halo", requests.filter(({ at }) => isShown(at)));
  for (const [ending, name] of Object.entries({ completed: "completed", aborted: "aborted", unaborted: "failed, not aborted" })) {
    const of = requests.filter((request) => request.ending === ending && isShown(request.at));
    put("large dots " + ending, of);
    if (!all[ending] || !hasDensity) continue;
    const key = make("span", "key", `${name}: ${count(of.length)} of ${count(all[ending])} as points`);
    key.prepend(make("i", "dots " + ending));
    element("latency").querySelector("figcaption").append(key);
  }
}
const nearest = (event) => {
  const { left, top, width, height } = scatter.getBoundingClientRect();
  let [best, distance] = [null, 12];
  for (const request of requests.filter(({ at }) => isShown(at))) {
    const away = Math.hypot(left + ofTime(request.at) * width - event.clientX, top + (1 - ofLatency(request.e2e)) * height - event.clientY);
    if (away < distance) [best, distance] = [request, away];
  }
  return best;
};

let pressed = null;
const stretchAt = (event) => {
  const { left, width } = event.currentTarget.getBoundingClientRect();
  const moment = run.time[0] + (event.clientX - left) / width * (run.time[1] - run.time[0]);
  return Math.max(firstShown, Math.min(firstShown + Math.floor((moment - run.begin) / run.length), lastShown));
};
for (const field of overTime) {
  field.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    pressed = { stretch: stretchAt(event), x: event.clientX, isDrag: false };
    field.setPointerCapture(event.pointerId);
  });
  field.addEventListener("pointermove", (event) => {
    const here = stretchAt(event);
    if (pressed && Math.abs(event.clientX - pressed.x) > 4) pressed.isDrag = true;
    const tell = moveTo(here, field, pressed?.isDrag ? pressed.stretch : here);
    const request = field === scatter && !pressed?.isDrag ? nearest(event) : null;
    encircle(near, request);
    if (request) showTip(`${request.id}: ${time(request.e2e)}, ${request.reason}, mostly ${request.mostly}`, event.clientX, event.clientY);
    else tell(event.clientX, event.clientY);
  });
  field.addEventListener("pointerup", (event) => {
    if (!pressed) return;
    const { stretch, isDrag } = pressed;
    pressed = null;
    const request = field === scatter ? nearest(event) : null;
    if (isDrag) select([stretch, stretchAt(event)]);
    else if (request) show(request, true);
    else if (field !== scatter) select([stretch, stretch]);
    else select(null);
  });
  field.addEventListener("pointercancel", () => (pressed = null));
  field.addEventListener("pointerleave", () => { if (!pressed) { leave(); hideTip(); } });
  field.addEventListener("blur", leave);
  field.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: (at ?? stretches.length) - 1, ArrowRight: (at ?? -1) + 1, Home: 0, End: stretches.length - 1 }[event.key];
    if (event.key === "Escape") select(null);
    if (event.key === "Enter" && at !== null) {
      const { from, to } = stretches[at];
      const inside = requests.filter((request) => request.at >= from && request.at < to);
      if (inside.length) {
        show(inside.reduce((one, other) => (other.e2e > one.e2e ? other : one)), true);
        enter(field);
      }
    }
    if (to === undefined) return;
    event.preventDefault();
    const from = at ?? to;
    moveTo(to, field)();
    if (event.shiftKey) {
      const still = selected && (from === selected[0] ? selected[1] : from === selected[1] ? selected[0] : null);
      select([still ?? from, at]);
    }
  });
}
