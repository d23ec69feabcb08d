// The list of requests: searched, filtered, sorted by any of its columns.
const LISTED = 200;
const COLUMNS = [
  ["request", "id", (request) => request.id],
  ["began", "at", (request) => clock(request.at, 1)],
  ["e2e", "e2e", (request) => short(request.e2e)],
  ["ended", "reason", (request) => request.reason],
  ["tokens", "tokens", (request) => count(request.tokens)],
  ["mostly", "mostly", (request) => request.mostly],
];
const search = element("search");
const ending = element("ending");
const [head] = element("list").querySelectorAll("thead tr");
const [body] = element("list").querySelectorAll("tbody");
let order = { key: "e2e", isDown: true };
let listed = [];
let isWhole = false;

for (const [name, key] of COLUMNS) {
  const cell = make("th");
  cell.scope = "col";
  cell.append(button(name, "", () => {
    order = { key, isDown: order.key === key ? !order.isDown : key === "e2e" || key === "tokens" };
    fill();
  }));
  head.append(cell);
}

const found = () => {
  const wanted = search.value.trim().toLowerCase();
  const { key, isDown } = order;
  const all = requests.filter((request) => isSelected(request) && request.id.toLowerCase().includes(wanted) &&
    (!ending.value || (ending.value === "failed" ? request.ending !== "completed" : request.ending === ending.value)));
  const compare = (one, other) => (one < other ? -1 : one > other ? 1 : 0);
  return all.sort((one, other) => (isDown ? -1 : 1) * compare(one[key], other[key]) || other.e2e - one.e2e);
};
// Marks the chosen request among the listed ones. The Tab key reaches this one only, or the first; arrow keys reach the others.
const mark = () => {
  const at = Math.max(0, listed.indexOf(chosen));
  [...body.rows].forEach((row, n) => {
    row.setAttribute("aria-selected", String(listed[n] === chosen));
    row.querySelector("a").tabIndex = n === at ? 0 : -1;
  });
};

const fill = () => {
  const all = found();
  listed = isWhole ? all : all.slice(0, LISTED);
  COLUMNS.forEach(([, key], n) => {
    const direction = order.key === key ? (order.isDown ? "descending" : "ascending") : "none";
    head.cells[n].setAttribute("aria-sort", direction);
    head.cells[n].firstChild.textContent = COLUMNS[n][0] + { ascending: " ▲", descending: " ▼", none: "" }[direction];
  });
  element("found").textContent = amount(all.length, "request", "requests") +
    ("sampled" in search.dataset ? ` of the ${count(requests.length)} in this page` : "") +
    (selected ? ", of the selected time" : "") +
    (all.length > listed.length ? `, ${LISTED} of them are listed` : "");
  element("all").hidden = all.length === listed.length;
  element("all").textContent = `List all ${count(all.length)}`;
  body.replaceChildren(...listed.map((request) => {
    const row = make("tr");
    COLUMNS.forEach(([name, , text], n) => {
      const cell = make("td", "", n ? text(request) : undefined);
      if (!n) {
        const anchor = make("a", "", request.id);
        anchor.href = "#" + placeOf(request);
        cell.append(anchor);
      }
      if (name === "request" || name === "mostly") cell.title = text(request);
      row.append(cell);
    });
    row.addEventListener("click", (event) => {
      event.preventDefault();
      show(request, true);
    });
    return row;
  }));
  mark();
  return all;
};

// The first of what is found is shown, unless the chosen one is among it.
const refill = () => {
  const all = fill();
  if (all.length && !all.includes(chosen)) show(all[0], false);
  if (!all.length && search.value.trim()) showNone(search.value.trim());
};
search.addEventListener("input", refill);
ending.addEventListener("change", refill);
element("all").addEventListener("click", () => {
  isWhole = true;
  fill();
});
whenSelected(refill);
body.addEventListener("keydown", (event) => {
  const at = [...body.rows].indexOf(event.target.closest("tr"));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: listed.length - 1 }[event.key];
  const row = body.rows[to];
  if (!row) return;
  event.preventDefault();
  row.querySelector("a").focus();
  show(listed[to], false);
  link();
});
