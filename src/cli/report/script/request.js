// A request: what is known of it, and its waterfall.
const waterfall = element("waterfall");
let chosen = null;
// Draws the lanes anew where there is more or less room.
let redraw = () => {};
addEventListener("resize", () => redraw());

const copy = async (text, from, told) => {
  try {
    await navigator.clipboard.writeText(text);
    told.textContent = "Copied";
  } catch {
    // A browser may refuse it to a file: then the text is selected, to be copied by hand.
    getSelection().selectAllChildren(from);
    told.textContent = "Selected";
  }
  setTimeout(() => (told.textContent = "Copy id"), 2000);
};
const list = (entries) => {
  const made = make("dl");
  for (const [name, value] of entries) {
    const entry = make("div");
    entry.append(make("dt", "", name), make("dd", "", String(value)));
    made.append(entry);
  }
  return made;
};

// For whom the stages worked while the request waited for them; what is too short to matter is left out.
const NOTABLE = 0.05;
const inTheWay = (request) => (request.way ?? [])
  .filter(([, , there, busy]) => Math.min(there, busy) >= NOTABLE * request.e2e)
  .map(([stage, batch, there, busy, others, named, log]) => {
    const plain = partByCode.get("s" + id(stage))?.name ?? id(stage);
    const name = (plain.startsWith("stage") ? "" : "stage ") + plain + (log === null ? "" : ` (${log})`);
    const all = amount(others, "other request", "other requests");
    const sentence = make("p", "way", batch === null
      ? `In the way: ${name} worked for ${all} during ${short(busy)} of the ${short(there)} that this request waited: `
      : `In the way: batch ${batch} of ${name} had ${all} during ${short(busy)} of its ${short(there)}: `);
    named.forEach(([other, millis], n) => {
      const anchor = make("a", "", other);
      anchor.href = "#" + new URLSearchParams({ request: other });
      sentence.append(n ? ", " : "", anchor, ` (${short(millis)})`);
    });
    if (others > named.length) sentence.append(` and ${count(others - named.length)} more`);
    return sentence;
  });

const drawRequest = (request) => {
  const e2e = named("e2e", request.numbers);
  const name = make("h3", "", request.id);
  const copies = button("Copy id", "", () => copy(request.id, name, copies));
  const known = facts("e2e", { ...e2e, error: null });
  known.push(["began", new Date(request.at).toISOString()], ["ended", request.ended]);
  if (request.trace) known.push(["trace_id", request.trace], ["span_id", request.span ?? "-"]);
  if (request.weight) known.push(["stands for", amount(request.weight, "request", "requests")]);
  waterfall.replaceChildren(name, copies, list(known));
  if (request.fields) waterfall.append(list(request.fields.map(([field, value]) => ["fields." + field, value])));
  if (e2e.error) waterfall.append(make("p", "error", "Error: " + e2e.error));
  for (const broke of request.broke ?? []) waterfall.append(make("p", "error", "Broke the objective " + broke));

  waterfall.append(...inTheWay(request));

  const controls = make("div", "zoom");
  const range = make("span");
  let [from, to] = [0, request.e2e || 1];
  let lanes = null;
  const zoom = (wanted) => {
    const length = Math.max(1e-6, Math.min(wanted[1] - wanted[0], request.e2e || 1));
    from = Math.max(0, Math.min(wanted[0], (request.e2e || 1) - length));
    to = from + length;
    const focused = lanes && [...lanes.children].indexOf(document.activeElement);
    const drawn = drawLanes(request, [from, to], zoom);
    if (lanes) lanes.replaceWith(drawn);
    else waterfall.append(drawn);
    lanes = drawn;
    drawRuler(lanes.querySelector(".ruler > div"), [from, to]);
    if (focused > 0) lanes.children[focused]?.focus();
    range.textContent = `${short(from)} to ${short(to)}`;
  };
  redraw = () => zoom([from, to]);
  const scale = (factor) => {
    const middle = (from + to) / 2;
    zoom([middle - (to - from) * factor / 2, middle + (to - from) * factor / 2]);
  };
  const move = (share) => zoom([from + (to - from) * share, to + (to - from) * share]);
  controls.append(
    button("+", "Zoom in", () => scale(0.5)), button("−", "Zoom out", () => scale(2)),
    button("←", "Earlier", () => move(-0.5)), button("→", "Later", () => move(0.5)),
    button("Whole request", "", () => zoom([0, request.e2e])), range);
  waterfall.append(controls);
  zoom([from, to]);

  const notes = ["A bar shows when a stage or a transfer ran; all spans of a stage are drawn as one bar. The hatched part in front of it is the time in " +
    "the stage's own queue. A line across a bar marks its first or last output, a double line the limit of an objective. Grey hatching behind the lanes " +
    "marks time in which nothing of the request ran. A click on a lane, or Enter, zooms to it, and Escape back."];
  if (request.more) notes.push(`${amount(request.more, "more row is", "more rows are")} left out.`);
  notes.push(...(request.warnings ?? []).map((warning) => "Warning: " + warning));
  waterfall.append(...notes.map(sentence));
};

// Shows a request, and brings it into view if a person has asked for it elsewhere.
const show = (request, isAsked) => {
  chosen = request;
  encircle(ring, request);
  drawRequest(request);
  mark();
  if (isAsked) {
    link();
    waterfall.scrollIntoView({ block: "nearest" });
  }
};
// The keyboard comes to the waterfall from a chart; Escape leads back.
let origin = null;
const enter = (from) => {
  origin = from;
  waterfall.focus({ preventScroll: true });
};
waterfall.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || !origin) return;
  origin.focus();
  origin = null;
});
const showNone = (id) => {
  chosen = null;
  redraw = () => {};
  encircle(ring, null);
  mark();
  const search = element("search");
  if (!("sampled" in search.dataset)) return waterfall.replaceChildren(make("p", "", "No request has such an id."));
  waterfall.replaceChildren(
    make("p", "", `Only ${count(requests.length)} of ${search.dataset.requests} requests are in this page, and none ` +
      "of these has such an id. This command finds the others, by their whole id:"),
    make("pre", "", `omni-metrics tables --request ${quoted(id)} ${search.dataset.files}`));
};
