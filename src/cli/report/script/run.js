// The data of the page: the run by its stretches of time, and the requests that have a waterfall.
const run = JSON.parse(element("run").textContent);
const requests = JSON.parse(element("data").textContent);

// Rows come as lists of values; `run.numbers` has the name and the unit of each. Any number that a row has is
// told; only what is drawn has its name in this script.
const named = (table, values) =>
  Object.fromEntries(run.numbers[table].map(([name], at) => [name, values[at] ?? null]));
const label = (name) => name.replace(/(_time)?_ms$|_bytes$/, "").replaceAll("_", " ");
const figure = (unit, value) =>
  unit === "ms" ? time(value)
    : unit === "bytes" ? amount(value, "byte", "bytes")
    : unit === "ratio" ? value.toFixed(3)
    : unit === "text" ? value : count(value);
const facts = (table, row) => run.numbers[table]
  .filter(([name, unit]) => unit !== "key" && row[name] !== null)
  .map(([name, unit]) => [label(name), figure(unit, row[name])]);

const partByCode = new Map(run.parts.map(([code, name, className]) => [code, { name, className }]));
const part = (code) => partByCode.get(code) ?? { name: "other parts", className: "others" };

for (const request of requests) {
  // A piece of the path begins where the one before it ends.
  request.path = request.path.map(([code, to], n, path) => [code, n ? path[n - 1][1] : 0, to]);
  const times = new Map();
  for (const [code, from, to] of request.path) times.set(code, (times.get(code) ?? 0) + to - from);
  const most = [...times].reduce((one, other) => (other[1] > one[1] ? other : one), ["u", 0]);
  const e2e = named("e2e", request.numbers);
  Object.assign(request, { mostly: part(most[0]).name, tokens: e2e.e2e_total_tokens, reason: e2e.finish_reason ?? (request.ending === "completed" ? "completed" : "failed") });
}

// A stretch comes as a list. Those between these two are in the charts; one before and one after may have the rest.
const firstShown = run.before === null ? 0 : 1;
const lastShown = run.stretches.length - (run.after === null ? 1 : 2);
const endOfCharts = run.begin + (lastShown - firstShown + 1) * run.length;
const stretches = run.stretches.map(([completed, aborted, unaborted, tokens, inFlight, latencies, times], at) => ({
  from: at < firstShown ? run.before : run.begin + (at - firstShown) * run.length,
  to: at > lastShown ? run.after : run.begin + (at - firstShown + 1) * run.length,
  requests: completed + aborted + unaborted,
  failed: aborted + unaborted,
  aborted, tokens, inFlight, latencies, times,
}));
const pairs = function* (list) {
  for (let at = 0; at < list.length; at += 2) yield [list[at], list[at + 1]];
};

// Several stretches as one.
const sum = (some) => {
  const whole = { requests: 0, aborted: 0, failed: 0, tokens: 0, inFlight: 0, bins: new Map(), parts: new Map() };
  const length = some.reduce((length, { from, to }) => length + to - from, 0);
  for (const stretch of some) {
    for (const name of ["requests", "aborted", "failed", "tokens"]) whole[name] += stretch[name];
    whole.inFlight += stretch.inFlight * (stretch.to - stretch.from) / length;
    for (const [bin, number] of pairs(stretch.latencies)) whole.bins.set(bin, (whole.bins.get(bin) ?? 0) + number);
    for (const [at, millis] of pairs(stretch.times)) whole.parts.set(at, (whole.parts.get(at) ?? 0) + millis);
  }
  return whole;
};
// Whether the charts show a moment.
const isShown = (moment) => moment >= run.time[0] && moment <= run.time[1];
const startOfBin = (bin) => 2 ** (bin / run.bins) / 1e6;
// The latency that a share of the requests does not exceed, as exact as the bins are.
const percentile = (whole, share) => {
  let below = 0;
  for (const bin of [...whole.bins.keys()].sort((a, b) => a - b)) {
    below += whole.bins.get(bin);
    if (below >= Math.max(1, share * whole.requests)) return Math.sqrt(startOfBin(bin) * startOfBin(bin + run.distribution.group));
  }
  return null;
};
const tellStretches = (whole) => {
  const rest = [
    whole.failed && `${count(whole.failed)} failed` + (whole.aborted ? ` (${count(whole.aborted)} aborted)` : ""),
    whole.requests && `p50 ${short(percentile(whole, 0.5))}`,
    whole.requests && `p99 ${short(percentile(whole, 0.99))}`,
    `${digits(whole.inFlight)} in flight`,
  ];
  return [amount(whole.requests, "request", "requests"), ...rest.filter(Boolean)].join(", ");
};
