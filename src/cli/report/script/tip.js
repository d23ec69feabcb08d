// What the pointer is over, or the arrow keys have reached, is explained beside it.
const tip = element("tip");
const showTip = (text, x, y) => {
  tip.textContent = text;
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, Math.min(x + 12, innerWidth - width - 4)) + "px";
  tip.style.top = (y - height - 12 > 4 ? y - height - 12 : y + 18) + "px";
};
const hideTip = () => {
  tip.hidden = true;
  document.querySelectorAll(".active").forEach((active) => active.classList.remove("active"));
};

document.addEventListener("pointermove", (event) => {
  const about = event.target.closest?.("[data-tip]");
  if (about) showTip(about.dataset.tip, event.clientX, event.clientY);
  else if (!event.target.closest?.(".field")) hideTip();
});
document.addEventListener("focusout", hideTip);
document.addEventListener("focusin", (event) => {
  const about = event.target;
  if (!about.matches(".lane")) return;
  const { left, top } = about.getBoundingClientRect();
  showTip(about.dataset.tip, left, top);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") return hideTip();
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const bar = event.target.closest?.(".bar");
  if (!step || !bar) return;
  event.preventDefault();
  const parts = [...bar.children];
  const from = parts.findIndex((part) => part.classList.contains("active"));
  const at = from < 0 ? (step > 0 ? 0 : parts.length - 1) : Math.max(0, Math.min(from + step, parts.length - 1));
  hideTip();
  parts[at].classList.add("active");
  const { left, top, width } = parts[at].getBoundingClientRect();
  showTip(parts[at].dataset.tip, left + width / 2, top);
});
