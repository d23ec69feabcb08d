// The stretches of time that are selected: the first and the last, or null for the whole run.
let selected = null;
const followers = [];
const whenSelected = (act) => followers.push(act);
const select = (range) => {
  selected = range && [Math.min(...range), Math.max(...range)];
  followers.forEach((act) => act());
};
const selectedStretches = () => (selected ? stretches.slice(selected[0], selected[1] + 1) : stretches);
const selectedTime = () => selected && [stretches[selected[0]].from, stretches[selected[1]].to];
const isSelected = (request) => {
  const range = selectedTime();
  return !range || (request.at >= range[0] && request.at < range[1]);
};

const said = element("selected");
whenSelected(() => {
  said.hidden = !selected;
  if (!selected) return;
  const [from, to] = selectedTime();
  said.firstElementChild.textContent = `${clock(from)} to ${clock(to)}: ${tellStretches(sum(selectedStretches()))}`;
});
// What the charts leave out.
document.querySelectorAll("[data-outside]").forEach((button) => button.addEventListener("click", () => {
  const at = button.dataset.outside === "before" ? 0 : stretches.length - 1;
  select([at, at]);
}));
said.querySelector("button").addEventListener("click", () => select(null));
