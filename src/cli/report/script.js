"use strict";
(() => {
  const element = (id) => document.getElementById(id);
  const make = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };

  // What the pointer is over, or the arrow keys have reached, is explained beside it.
  const tip = element("tip");
  const show = (about, x, y) => {
    tip.textContent = about.dataset.tip;
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(x + 12, innerWidth - width - 4)) + "px";
    tip.style.top = (y - height - 12 > 4 ? y - height - 12 : y + 18) + "px";
  };
  const hide = () => {
    tip.hidden = true;
    document.querySelectorAll(".active").forEach((active) => active.classList.remove("active"));
  };
  document.addEventListener("pointermove", (event) => {
    const about = event.target.closest?.("[data-tip]");
    if (about) show(about, event.clientX, event.clientY);
    else if (!tip.hidden) hide();
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("focusin", (event) => {
    const about = event.target;
    if (!about.matches(".lane")) return;
    const { left, top } = about.getBoundingClientRect();
    show(about, left, top);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return hide();
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const chart = event.target.closest?.(".columns, .bar");
    if (!step || !chart) return;
    event.preventDefault();
    const parts = [...chart.children];
    const from = parts.findIndex((part) => part.classList.contains("active"));
    const at = from < 0 ? (step > 0 ? 0 : parts.length - 1) : Math.max(0, Math.min(from + step, parts.length - 1));
    hide();
    parts[at].classList.add("active");
    const { left, top, width } = parts[at].getBoundingClientRect();
    show(parts[at], left + width / 2, top);
  });

  const list = element("requests");
  if (!list) return;
  const requests = JSON.parse(element("data").textContent);
  const search = element("search");
  const waterfall = element("waterfall");
  const LISTED = 200;
  let found = [];
  let chosen = null;

  const time = (millis) =>
    millis === null || millis === undefined ? "–"
      : millis >= 1000 ? (millis / 1000).toFixed(3) + " s"
      : millis >= 1 || millis === 0 ? millis.toFixed(3) + " ms"
      : (millis * 1000).toFixed(1) + " µs";
  const count = (number) => (number === null ? "–" : number.toLocaleString("en"));
  const amount = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;
  const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";
  const id = (number) => (number === null ? "none" : String(number));

  // Rows come as lists of values; `columns` has the name and the unit of each. Any number that a row has is told;
  // only what is drawn has its name here.
  const columns = JSON.parse(element("columns").textContent);
  const named = (table, values) =>
    Object.fromEntries(columns[table].map(([name], at) => [name, values[at] ?? null]));
  const label = (name) => name.replace(/(_time)?_ms$|_bytes$/, "").replaceAll("_", " ");
  const figure = (unit, value) =>
    unit === "ms" ? time(value)
      : unit === "bytes" ? amount(value, "byte", "bytes")
      : unit === "ratio" ? value.toFixed(3)
      : unit === "text" ? value : count(value);
  const tell = (table, row) => columns[table]
    .filter(([name, unit]) => unit !== "key" && row[name] !== null)
    .map(([name, unit]) => `${label(name)} ${figure(unit, row[name])}`)
    .join(", ");

  const Stage = (stage) => ({
    name: stage.stage_name ? `${id(stage.stage_id)} ${stage.stage_name}` : `stage ${id(stage.stage_id)}`,
    start: stage.start_ms,
    parts: [[stage.stage_gen_time_ms, `stage-${stage.stage_id === null ? 7 : stage.stage_id % 7}`]],
    wait: stage.queue_time_ms,
    ticks: [stage.first_output_ms, stage.last_output_ms],
    text: `stage ${id(stage.stage_id)}: ${tell("stages", stage)}`,
  });
  const Transfer = (transfer) => ({
    name: `${id(transfer.from_stage)} → ${id(transfer.to_stage)}`,
    start: transfer.start_ms,
    parts: [
      [transfer.tx_time_ms, "transfers"],
      [transfer.in_flight_time_ms, "transfers faint"],
      [transfer.rx_decode_time_ms, "transfers"],
    ],
    text: `transfer ${id(transfer.from_stage)} to ${id(transfer.to_stage)}: ${tell("transfers", transfer)}`,
  });

  const lane = (row, scale) => {
    const line = make("div", "lane");
    line.tabIndex = 0;
    line.dataset.tip = row.text;
    line.setAttribute("role", "img");
    line.setAttribute("aria-label", row.text);
    line.append(make("span", "", row.name));
    const track = make("div", "track");
    let from = row.start;
    if (row.wait && from !== null) {
      const waiting = make("div", "waiting");
      waiting.style.left = Math.max(0, from - row.wait) * scale + "%";
      waiting.style.width = Math.min(row.wait, from) * scale + "%";
      track.append(waiting);
    }
    if (from === null) track.append(make("span", "", "never entered"));
    else {
      for (const [length, className] of row.parts) {
        if (!length) continue;
        const bar = make("div", className);
        bar.style.left = from * scale + "%";
        bar.style.width = Math.min(length * scale, Math.max(0, 100 - from * scale)) + "%";
        track.append(bar);
        from += length;
      }
      for (const moment of row.ticks ?? []) {
        if (moment === null) continue;
        const tick = make("div", "tick");
        tick.style.left = Math.min(moment * scale, 100) + "%";
        track.append(tick);
      }
    }
    line.append(track);
    return line;
  };

  const draw = (request) => {
    const scale = 100 / (request.e2e || 1);
    const e2e = named("e2e", request.numbers);
    const stages = request.stages.map((values) => named("stages", values));
    const transfers = request.transfers.map((values) => named("transfers", values));
    const rows = [...stages.map(Stage), ...transfers.map(Transfer)];
    rows.sort((a, b) => (a.start ?? Infinity) - (b.start ?? Infinity));
    const head = make("h3", "", request.id);
    const facts = make("p", "", `${tell("e2e", e2e)}, ended ${request.ended}`);
    waterfall.replaceChildren(head, facts);
    const queue = e2e.queue_time_ms;
    if (queue) rows.unshift({ name: "queue", start: 0, parts: [[queue, "queue"]], text: `queue: ${time(queue)}` });
    waterfall.append(...rows.map((row) => lane(row, scale)));
    const axis = make("p", "axis");
    axis.append(make("span", "", "0"), make("span", "", time(request.e2e)));
    waterfall.append(axis, make("p", "",
      "A bar begins where the row does; a row of several spans is drawn in one piece. " +
      "What is hatched before it is a stage's own queue; " +
      (stages.some((stage) => stage.last_output_ms !== null)
        ? "lines across it are the first and the last output."
        : "a line across it is the first output.")));
    if (request.more) waterfall.append(make("p", "", `${amount(request.more, "more row is", "more rows are")} left out.`));
    for (const warning of request.warnings ?? []) waterfall.append(make("p", "", "Warning: " + warning));
  };

  const choose = (at) => {
    const request = found[at];
    if (!request) return;
    chosen = request;
    [...list.children].forEach((item, n) => {
      item.setAttribute("aria-selected", String(n === at));
      if (n === at) {
        list.setAttribute("aria-activedescendant", item.id);
        item.scrollIntoView({ block: "nearest" });
      }
    });
    draw(request);
  };

  const fill = () => {
    const wanted = search.value.trim().toLowerCase();
    const all = requests.filter((request) => request.id.toLowerCase().includes(wanted));
    found = all.slice(0, LISTED);
    const isSampled = "sampled" in search.dataset;
    element("found").textContent = amount(all.length, "request", "requests") +
      (isSampled ? ` of the ${count(requests.length)} in this page` : "") +
      (all.length > LISTED ? `, the slowest ${LISTED} are listed` : "");
    list.replaceChildren(...found.map((request, at) => {
      const item = make("li");
      item.id = "request-" + at;
      item.setAttribute("role", "option");
      item.append(make("span", "", request.id), make("span", "time", time(request.e2e)));
      item.addEventListener("click", () => choose(at));
      return item;
    }));
    if (found.length) choose(Math.max(0, found.indexOf(chosen)));
    else if (!isSampled) waterfall.replaceChildren(make("p", "", "No request has such an id."));
    else {
      waterfall.replaceChildren(
        make("p", "", `Only ${count(requests.length)} of ${search.dataset.requests} requests are in this page, and none ` +
          "of these has such an id. This command finds the others, by their whole id:"),
        make("pre", "", `omni-metrics tables --request ${quoted(search.value.trim())} ${search.dataset.files}`));
    }
  };

  search.addEventListener("input", fill);
  list.addEventListener("keydown", (event) => {
    const at = found.indexOf(chosen);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: found.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    choose(Math.max(0, Math.min(to, found.length - 1)));
  });
  fill();
  list.scrollTop = 0;
})();
