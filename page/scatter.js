// Reward against cost, a window of training or an evaluation at a time, with counts and histograms beside.
import { choice, element, formatNumber, labelled, svgElement } from "./elements.js";
import { extentOf } from "./plots.js";

const SIZE = { width: 560, height: 300, left: 56, right: 12, top: 10, bottom: 40 };
/** @type {readonly (readonly [key: string, name: string, color: number])[]} */
const QUADRANTS = [
  ["SH", "safe, helpful", 2],
  ["SU", "safe, unhelpful", 0],
  ["UH", "unsafe, helpful", 4],
  ["UU", "unsafe, unhelpful", 1],
];
const BINS = 30;
const BARS_WIDTH = 420;
const BARS_HEIGHT = 90;

/**
 * @typedef {{ split: string, at: number | null }} ScatterChoices
 * `at` null stands for the newest, which moves on as the run does.
 */

/** @param {any} data @param {ScatterChoices} choices @param {HTMLElement} place @param {() => void} redraw */
export function drawScatters(data, choices, place, redraw) {
  const all = data.runs[0].scatters;
  const splits = ["train", "eval"].filter((split) =>
    all.some((/** @type {any} */ one) => one.split === split)
  );
  if (!splits.includes(choices.split)) choices.split = splits[0];
  const windows = all.filter((/** @type {any} */ one) => one.split === choices.split);
  const ranges = {
    x: withZero(all.flatMap((/** @type {any} */ one) => one.rewards)),
    y: withZero(all.flatMap((/** @type {any} */ one) => one.costs)),
  };
  /** @type {Record<string, string>} */
  const names = { train: "training", eval: "evaluation" };
  const split = choice(splits.map((name) => [name, names[name]]), choices.split, (value) => {
    Object.assign(choices, { split: value, at: null });
    redraw();
  });
  const last = windows.length - 1;
  const slider = element("input", {
    type: "range",
    min: 0,
    max: last,
    value: Math.min(choices.at ?? last, last),
    disabled: last === 0,
    id: "scatter-step",
  });
  const shown = element("div", { class: "scatter" });
  const steps = element("output");
  const show = () => {
    const { step, from, total, rewards, costs } = windows[Number(slider.value)];
    steps.textContent = from === step ? `step ${step}` : `steps ${from}–${step}`;
    /** @type {[number, number][]} */
    const points = rewards.flatMap((/** @type {number | null} */ reward, /** @type {number} */ i) =>
      reward === null || costs[i] === null ? [] : [[reward, costs[i]]]
    );
    shown.replaceChildren(
      scatterFigure(points, ranges),
      element(
        "div",
        {},
        countsTable(points, total),
        histogram("reward", points.map(([reward]) => reward), ranges.x, 2, 0),
        histogram("cost", points.map(([, cost]) => cost), ranges.y, 1, 2),
      ),
    );
  };
  slider.addEventListener("input", () => {
    choices.at = Number(slider.value) === last ? null : Number(slider.value);
    show();
  });
  place.replaceChildren(
    element("div", { class: "toolbar" }, labelled("of", split), labelled("step", slider), steps),
    shown,
  );
  show();
}

/** @param {(number | null)[]} values @returns {[number, number]} */
function withZero(values) {
  const [min, max] = values.length > 0 ? extentOf(values) : [-1, 1];
  const room = 0.05 * (Math.max(max, 0) - Math.min(min, 0)) || 1;
  return [Math.min(min, 0) - room, Math.max(max, 0) + room];
}

/** @param {number} reward @param {number} cost */
const quadrantOf = (reward, cost) => `${cost <= 0 ? "S" : "U"}${reward > 0 ? "H" : "U"}`;

/** Multiples of 1, 2 or 5 times a power of ten. @param {[number, number]} range */
function ticksOf([min, max]) {
  const raw = (max - min) / 5;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.7) ?? power;
  const ticks = [];
  for (let i = Math.ceil(min / step); i * step <= max; i++) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

/** @param {[number, number][]} points @param {{ x: [number, number], y: [number, number] }} ranges */
function scatterFigure(points, ranges) {
  const { width, height, left, right, top, bottom } = SIZE;
  const x = (/** @type {number} */ value) =>
    left + (value - ranges.x[0]) / (ranges.x[1] - ranges.x[0]) * (width - left - right);
  const y = (/** @type {number} */ value) =>
    height - bottom - (value - ranges.y[0]) / (ranges.y[1] - ranges.y[0]) * (height - top - bottom);
  const parts = [
    ...ticksOf(ranges.y).flatMap((tick) => [
      svgElement("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
      svgElement("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, formatNumber(tick)),
    ]),
    ...ticksOf(ranges.x).map((tick) =>
      svgElement("text", { x: x(tick), y: height - bottom + 17, "text-anchor": "middle" }, formatNumber(tick))
    ),
    svgElement("path", {
      class: "threshold",
      d: `M${x(0)} ${top}V${height - bottom}M${left} ${y(0)}H${width - right}`,
    }),
    ...QUADRANTS.map(([key, , color]) => {
      const own = points.filter(([reward, cost]) => quadrantOf(reward, cost) === key);
      const d = own.map(([reward, cost]) => `M${x(reward).toFixed(1)} ${y(cost).toFixed(1)}h0`).join("");
      return svgElement("path", { class: `points s${color}`, d });
    }),
    svgElement(
      "text",
      { class: "muted", x: (left + width) / 2, y: height - 6, "text-anchor": "middle" },
      "reward",
    ),
    svgElement("text", {
      class: "muted",
      transform: `translate(13 ${height / 2}) rotate(-90)`,
      "text-anchor": "middle",
    }, "cost"),
  ];
  const attributes = {
    class: "plot",
    viewBox: `0 0 ${width} ${height}`,
    role: "img",
    "aria-label": "Reward and cost",
  };
  return element("figure", {}, svgElement("svg", attributes, ...parts));
}

/** @param {[number, number][]} points @param {number} total */
function countsTable(points, total) {
  const rows = QUADRANTS.map(([key, name, color]) => {
    const count = points.filter(([reward, cost]) => quadrantOf(reward, cost) === key).length;
    const share = points.length === 0 ? 0 : 100 * count / points.length;
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, element("span", { class: `dot s${color}` }), `${key}, ${name}`),
      element("td", { class: "number" }, String(count)),
      element("td", { class: "number" }, `${share.toFixed(0)} %`),
    );
  });
  const note = points.length < total ? `${points.length} of ${total} completions` : `${total} completions`;
  return element(
    "div",
    {},
    element("table", { class: "plot counts" }, element("tbody", {}, ...rows)),
    element("p", { class: "note" }, note),
  );
}

/**
 * @param {string} name @param {number[]} values @param {[number, number]} range
 * @param {number} above color of the values above 0 @param {number} below of the others
 */
function histogram(name, values, range, above, below) {
  const [min, max] = range;
  const wide = (max - min) / BINS;
  // 0 parts the colors, so it is an edge; an edge belongs to the bin below it, as a cost of 0 is safe.
  const first = Math.floor(min / wide);
  const binOf = (/** @type {number} */ value) => Math.max(0, Math.ceil(value / wide) - 1 - first);
  const counts = new Array(BINS + 2).fill(0);
  for (const value of values) counts[Math.min(BINS + 1, binOf(value))]++;
  const most = Math.max(1, ...counts);
  const scale = BARS_WIDTH / ((BINS + 2) * wide);
  const x = (/** @type {number} */ value) => (value - first * wide) * scale;
  const bars = counts.flatMap((count, i) => {
    if (count === 0) return [];
    const from = (first + i) * wide;
    const height = BARS_HEIGHT * count / most;
    const attributes = { x: x(from) + 0.5, y: BARS_HEIGHT + 4 - height, width: wide * scale - 1, height };
    const bar = svgElement("rect", { class: `bar s${first + i >= 0 ? above : below}`, ...attributes });
    bar.append(svgElement("title", {}, `${formatNumber(from)} to ${formatNumber(from + wide)}: ${count}`));
    return [bar];
  });
  const floor = BARS_HEIGHT + 4.5;
  const parts = [
    ...bars,
    svgElement("path", { class: "threshold", d: `M${x(0)} 0V${floor}` }),
    svgElement("line", { class: "axis", x1: 0, x2: BARS_WIDTH, y1: floor, y2: floor }),
    ...ticksOf(range).map((tick) =>
      svgElement("text", { x: x(tick), y: floor + 15, "text-anchor": "middle" }, formatNumber(tick))
    ),
  ];
  const attributes = {
    class: "plot",
    viewBox: `0 0 ${BARS_WIDTH} ${BARS_HEIGHT + 24}`,
    role: "img",
    "aria-label": `Histogram of ${name}`,
  };
  return element("figure", {}, element("figcaption", {}, name), svgElement("svg", attributes, ...parts));
}
