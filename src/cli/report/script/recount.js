// The distribution and where the time goes, of the selected time.
const { first, width, counts, top: highest } = run.distribution;
const distribution = element("distribution");
const columnsField = distribution.querySelector(".field");
const chosenColumns = document.createElementNS("http://www.w3.org/2000/svg", "path");
chosenColumns.setAttribute("class", "columns chosen");
distribution.querySelector("svg").append(chosenColumns);

let chosenCounts = counts;
whenSelected(() => {
  const whole = sum(selectedStretches());
  distribution.classList.toggle("narrowed", Boolean(selected));
  chosenCounts = counts.map(() => 0);
  for (const [bin, number] of whole.bins) chosenCounts[Math.floor((bin - first) / width)] += number;
  const size = 2000 / counts.length;
  const column = (number, n) => number && `M${n * size} 1000V${1000 - number / highest * 1000}h${size}V1000z`;
  chosenColumns.setAttribute("d", selected ? chosenCounts.map(column).filter(Boolean).join("") : "");
});

// What the pointer or the arrow keys are at.
const columnCursor = make("div", "cursor");
columnCursor.hidden = true;
columnsField.append(columnCursor);
let column = null;
const moveToColumn = (to, x, y) => {
  column = Math.max(0, Math.min(to, counts.length - 1));
  columnCursor.hidden = false;
  columnCursor.style.left = column / counts.length * 100 + "%";
  columnCursor.style.width = 100 / counts.length + "%";
  const [from, until] = [0, 1].map((next) => short(startOfBin(first + (column + next) * width)));
  const { left, top, width: whole } = columnsField.getBoundingClientRect();
  const text = `${from} to ${until}: ${amount(chosenCounts[column], "request", "requests")}`;
  showTip(text, x ?? left + (column + 0.5) / counts.length * whole, y ?? top);
};
columnsField.addEventListener("pointermove", (event) => {
  const { left, width: whole } = columnsField.getBoundingClientRect();
  moveToColumn(Math.floor((event.clientX - left) / whole * counts.length), event.clientX, event.clientY);
});
for (const leaving of ["pointerleave", "blur"]) columnsField.addEventListener(leaving, () => {
  columnCursor.hidden = true;
  hideTip();
});
columnsField.addEventListener("keydown", (event) => {
  const to = { ArrowLeft: (column ?? counts.length) - 1, ArrowRight: (column ?? -1) + 1, Home: 0, End: counts.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  moveToColumn(to);
});

// A bar like those that are there.
let barOfSelection = null;
whenSelected(() => {
  barOfSelection?.remove();
  barOfSelection = null;
  const whole = sum(selectedStretches());
  const total = [...whole.parts.values()].reduce((one, other) => one + other, 0);
  if (!selected || !whole.requests) return;
  const bar = make("div", "bar");
  const told = [];
  for (const [index, [, name, className]] of run.parts.entries()) {
    const millis = whole.parts.get(index);
    if (!millis) continue;
    const each = short(millis / whole.requests);
    const box = make("div", className);
    box.style.width = millis / total * 100 + "%";
    box.dataset.tip = `${name}: ${each} a request, ${percent(millis, total)}`;
    box.append(make("span", "", each));
    bar.append(box);
    told.push(`${name} ${each}`);
  }
  const mean = short(total / whole.requests);
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", `selected time, ${mean}: ${told.join(", ")}. Use the arrow keys to read the parts.`);
  bar.tabIndex = 0;
  barOfSelection = make("div", "bar-row");
  barOfSelection.append(make("h3", "", `selected time (${count(whole.requests)}): ${mean}`), bar);
  element("bars").prepend(barOfSelection);
});
