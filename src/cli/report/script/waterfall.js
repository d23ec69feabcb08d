// The waterfall of a request: a lane for its critical path and for each row, on an axis that can be narrowed.
const id = (number) => (number === null ? "none" : String(number));
const furtherFields = (fields) => (fields ?? []).map(([name, value]) => `${name} ${value}`);
const tell = (table, row, fields) =>
  [...facts(table, row).map((fact) => fact.join(" ")), ...furtherFields(fields)].join(", ");

// The limits of objectives for moments of a stage, or, without a stage, for the end of the request.
const limits = (isIts) => run.limits.filter(({ stage }) => isIts(stage)).map(({ limit, text }) => [limit, "objective " + text]);

const Stage = ([values, fields]) => {
  const stage = named("stages", values);
  const from = stage.start_ms;
  const wait = Math.min(stage.queue_time_ms ?? 0, from ?? 0);
  const [waiting, working] = ["w", "s"].map((code) => part(code + id(stage.stage_id)).className);
  return {
    name: stage.stage_name ? `${id(stage.stage_id)} ${stage.stage_name}` : `stage ${id(stage.stage_id)}`,
    from, length: stage.stage_gen_time_ms,
    pieces: from === null ? [] : [[from - wait, from, waiting], [from, from + (stage.stage_gen_time_ms ?? 0), working]],
    ticks: [stage.first_output_ms, stage.last_output_ms],
    limits: limits((of) => of !== null && (of === stage.stage_id || of === stage.stage_name)),
    text: `stage ${id(stage.stage_id)}: ${tell("stages", stage, fields)}`,
  };
};
const Transfer = ([values, fields]) => {
  const transfer = named("transfers", values);
  const { tx_time_ms: sending, in_flight_time_ms: flight, rx_decode_time_ms: receiving } = transfer;
  const begin = transfer.start_ms;
  const pieces = [];
  let from = begin === null ? null : begin - (sending === null ? Math.min(flight ?? 0, begin) : 0);
  const start = from;
  if (from !== null) for (const [length, className] of [[sending, "transfers"], [flight, "transfers faint"], [receiving, "transfers"]]) {
    if (length) pieces.push([from, from += length, className]);
  }
  return {
    name: `${id(transfer.from_stage)} → ${id(transfer.to_stage)}`, from: start, length: transfer.total_time_ms, pieces, ticks: [], limits: [],
    text: `transfer ${id(transfer.from_stage)} to ${id(transfer.to_stage)}: ${tell("transfers", transfer, fields)}`,
  };
};
const CriticalPath = (request) => ({
  name: "critical path", from: 0, length: request.e2e, ticks: [], limits: limits((of) => of === null),
  pieces: request.path.map(([code, from, to]) => [from, to, part(code).className, `${part(code).name}: ${time(to - from)}`]),
  text: "critical path: " + request.path.map(([code, from, to]) => `${part(code).name} ${time(to - from)}`).join(", "),
});

const roundStep = (least) => {
  const decade = 10 ** Math.floor(Math.log10(least));
  return decade * [1, 2, 5, 10].find((factor) => factor * decade >= least * 0.999);
};

// Draws the moments that a ruler names, as far as there is room for their texts.
const drawRuler = (field, [from, to]) => {
  const room = 64 / field.clientWidth;
  const step = roundStep((to - from) * room || 1);
  for (let moment = Math.ceil(from / step) * step; moment <= to; moment += step) {
    const place = (moment - from) / (to - from);
    const rule = make("div", "rule", tickText(Math.round(moment * 1e6) / 1e6));
    rule.style.left = place * 100 + "%";
    field.append(rule);
    if (rule.offsetLeft + rule.offsetWidth > field.clientWidth) rule.remove();
  }
};

// Draws the lanes between two moments; `zoom` is called with others.
const drawLanes = (request, [from, to], zoom) => {
  const lanes = make("div", "lanes");
  const place = (moment) => (moment - from) / (to - from) * 100;
  const put = (box, begin, end) => {
    box.style.left = Math.max(place(begin), -1) + "%";
    box.style.width = Math.max(0, Math.min(place(end), 101) - Math.max(place(begin), -1)) + "%";
    return box;
  };
  const ruler = make("div", "ruler");
  const field = make("div");
  for (const [code, begin, end] of request.path) {
    if (/^[quw]/.test(code) && end > from && begin < to) field.append(put(make("div", "gap"), begin, end));
  }
  ruler.append(field);
  lanes.append(ruler);
  const rows = [...request.stages.map(Stage), ...request.transfers.map(Transfer)];
  rows.sort((one, other) => (one.from ?? Infinity) - (other.from ?? Infinity));
  for (const row of [CriticalPath(request), ...rows]) {
    const lane = make("div", "lane");
    lane.tabIndex = 0;
    lane.dataset.tip = row.text;
    lane.setAttribute("role", "button");
    lane.setAttribute("aria-label", row.text);
    const track = make("div", "track");
    if (!row.pieces.length) track.append(make("span", "", "never entered"));
    for (const [begin, end, className, text] of row.pieces) {
      if (end <= begin || end < from || begin > to) continue;
      const piece = put(make("div", "piece " + className), begin, end);
      if (text) piece.dataset.tip = text;
      track.append(piece);
    }
    for (const [moment, text] of [...row.ticks.map((tick) => [tick]), ...row.limits]) {
      if (moment === null || moment < from || moment > to) continue;
      const tick = make("div", text ? "tick limit" : "tick");
      if (text) tick.dataset.tip = text;
      tick.style.left = `min(${place(moment)}%, 100% - ${text ? 3 : 2}px)`;
      track.append(tick);
    }
    lane.append(make("span", "", row.name), track, make("span", "", short(row.length ?? 0)));
    const narrow = () => {
      const [begin, end] = [row.pieces[0]?.[0], row.pieces.at(-1)?.[1]];
      if (begin === undefined) return;
      const margin = (end - begin || 0.001) * 0.1;
      const lane = [Math.max(0, begin - margin), Math.min(end + margin, request.e2e)];
      const isThere = from >= lane[0] - margin * 0.01 && to <= lane[1] + margin * 0.01;
      zoom(isThere || row.from === 0 && row.length === request.e2e ? [0, request.e2e] : lane);
    };
    lane.addEventListener("click", narrow);
    lane.addEventListener("keydown", (event) => {
      const act = { Enter: narrow, " ": narrow, Escape: to - from < request.e2e && (() => zoom([0, request.e2e])) }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    });
    lanes.append(lane);
  }
  return lanes;
};
