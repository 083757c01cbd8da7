// Building elements. Text goes in as text nodes only: nothing that a user
// wrote is ever read as HTML.

/** The element with this id, which the page is known to have. */
export const byId = (id) => document.getElementById(id);

/**
 * Makes an element. `props` are properties, but `data` (data-*), `aria`
 * (aria-*), `role` and `class`; children are elements, strings or null.
 */
export function element(tag, props = {}, ...children) {
  const made = document.createElement(tag);
  const { data = {}, aria = {}, class: names, role, ...rest } = props;
  if (names) made.className = names;
  if (role) made.setAttribute("role", role);
  for (const [key, value] of Object.entries(data)) made.dataset[key] = value;
  for (const [key, value] of Object.entries(aria)) made.setAttribute(`aria-${key}`, value);
  Object.assign(made, rest);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** Text for screen readers alone. */
export const unseen = (text) => element("span", { class: "unseen" }, text);

/** Says something to screen readers without moving the focus. */
export function announce(text) {
  const announcer = byId("announcer");
  announcer.textContent = "";
  // Emptied and filled in one task, the same words again would be no change.
  requestAnimationFrame(() => {
    announcer.textContent = text;
  });
}

/** Shows or hides. */
export function toggle(node, shown) {
  node.hidden = !shown;
}

/** Puts a name's initial and colour on an avatar. */
export function paintAvatar(node, name) {
  let hash = 0;
  for (const letter of name) hash = (hash * 31 + letter.codePointAt(0)) % 997;
  node.textContent = [...name][0]?.toUpperCase() ?? "?";
  node.dataset.hue = String(hash % 6);
}

const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const FULL = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

/** The time of day, with the day when it is not today. */
export function shortTime(iso) {
  const date = new Date(iso);
  if (Number.isNaN(date.getTime())) return "";
  const today = date.toDateString() === new Date().toDateString();
  return today ? CLOCK.format(date) : `${DAY.format(date)}, ${CLOCK.format(date)}`;
}

/** Day and time in full, for titles. */
export function fullTime(iso) {
  const date = new Date(iso);
  return Number.isNaN(date.getTime()) ? "" : FULL.format(date);
}

/**
 * Shows "in 9 seconds" now and at each second until `ms` are over, then calls
 * `done`. Answers a function that ends it before.
 */
export function countDown(ms, show, done = () => {}) {
  const due = Date.now() + ms;
  let timer;
  const tick = () => {
    const left = due - Date.now();
    if (left <= 0) return done();
    show(soon(left));
    timer = setTimeout(tick, left % 1000 || 1000);
  };
  tick();
  return () => clearTimeout(timer);
}

/** "in 40 seconds", "in 15 minutes": never too early. */
export function soon(ms) {
  const seconds = Math.max(1, Math.ceil(ms / 1000));
  const [count, unit] = seconds < 120 ? [seconds, "second"] : [Math.ceil(seconds / 60), "minute"];
  return `in ${count} ${unit}${count === 1 ? "" : "s"}`;
}
