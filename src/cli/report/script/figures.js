// Figures as texts, and elements of the page.
const element = (id) => document.getElementById(id);
const make = (tag, className, text) => {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
};
// A paragraph in which a text between two backticks is code.
const sentence = (text) => {
  const made = make("p");
  text.split(/`([^`]*)`/).forEach((piece, n) => made.append(n % 2 ? make("code", "", piece) : piece));
  return made;
};
const button = (text, label, act) => {
  const made = make("button", "", text);
  made.type = "button";
  if (label) made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
};

const time = (millis) =>
  millis === null || millis === undefined ? "-"
    : millis === 0 ? "0 ms"
    : millis >= 1000 ? (millis / 1000).toFixed(3) + " s"
    : millis >= 1 ? millis.toFixed(3) + " ms"
    : (millis * 1000).toFixed(1) + " µs";
// For bars and sentences, which need no more than three digits.
const digits = (number) => number >= 100 ? number.toFixed(0) : number >= 10 ? number.toFixed(1) : number.toFixed(2);
const short = (millis) =>
  millis >= 259200000 ? digits(millis / 86400000) + " d"
    : millis >= 10800000 ? digits(millis / 3600000) + " h"
    : millis >= 60000 ? digits(millis / 60000) + " min"
    : millis >= 1000 ? digits(millis / 1000) + " s"
    : millis >= 1 ? digits(millis) + " ms"
    : millis === 0 ? "0 ms"
    : digits(millis * 1000) + " µs";
// A round number of an axis: no decimals that say nothing.
const tickText = (millis) => {
  const [number, unit] = millis >= 1000 ? [millis / 1000, "s"] : millis >= 1 || millis === 0 ? [millis, "ms"] : [millis * 1000, "µs"];
  return `${Number(number.toPrecision(9))} ${unit}`;
};
const count = (number) => (number === null ? "-" : number.toLocaleString("en"));
const amount = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;
const percent = (part, whole) => (whole ? part / whole * 100 : 0).toFixed(1) + " %";
const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";
// The time of the day of a moment in milliseconds since the Unix epoch, as exact as a stretch is long.
const clock = (moment, length = run.length) => {
  const text = new Date(moment).toISOString();
  const day = moment < run.begin || moment > endOfCharts ? text.slice(0, 10) + " " : run.time[1] - run.time[0] > 86400000 ? text.slice(5, 10) + " " : "";
  return day + text.slice(11, length >= 1000 ? 19 : 23);
};
