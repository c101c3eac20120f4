// Lines over steps, completions, tokens or minutes: hover, zoom, smoothing, logarithmic axis. All plots share the cursor and the zoom.
import { choice, element, formatNumber, labelled } from "./elements.js";

const X_NAMES = {
  step: "step",
  completions: "completions scored",
  tokens: "tokens",
  minutes: "minutes in steps",
};
const SERIES_COLORS = 8;
/** What steps are counted in: nothing lies between two of them. */
const WHOLE = [1, 10, 100, 1e3, 1e4, 1e5, 1e6].flatMap((power) => [power, 2 * power, 5 * power]);

/**
 * What the reader has chosen; kept while the data change.
 * @typedef {{ x: "step" | "completions" | "tokens" | "minutes", log: boolean, smoothing: number, zoom: [number, number] | null,
 *   hidden: Set<string> }} PlotChoices
 */

/** @param {any} data @param {PlotChoices} choices @param {HTMLElement} place @param {() => void} redraw */
export function drawPlots(data, choices, place, redraw) {
  const toolbar = plotToolbar(data, choices, redraw);
  const grid = element("div", { class: "plots" });
  place.replaceChildren(toolbar, grid);
  const full = extentOf(data.runs.flatMap((/** @type {any} */ run) => run.x[choices.x]));
  /** @type {any[]} */
  const charts = [];
  /** @param {[number, number] | null} zoom */
  const setZoom = (zoom) => {
    choices.zoom = zoom;
    const [min, max] = zoom ?? full;
    for (const chart of charts) chart.setScale("x", { min, max });
    toolbar.querySelector("button").disabled = zoom === null;
  };
  toolbar.querySelector("button").addEventListener("click", () => setZoom(null));
  for (const plan of data.plots) {
    const figure = element("figure", { class: "chart plot" });
    grid.append(figure);
    charts.push(drawPlot(data, plan, { choices, figure, full, setZoom }));
  }
  const resized = new ResizeObserver(() => {
    for (const chart of charts) fit(chart);
  });
  resized.observe(grid);
  return () => {
    resized.disconnect();
    for (const chart of charts) chart.destroy();
  };
}

/** @param {PlotChoices} choices */
const xNameOf = (choices) => X_NAMES[choices.x];

/** @param {any} chart */
function fit(chart) {
  const width = chart.root.parentElement.clientWidth;
  if (width > 0 && width !== chart.width) chart.setSize({ width, height: chart.height });
}

/** @param {any} data @param {PlotChoices} choices @param {() => void} redraw */
function plotToolbar(data, choices, redraw) {
  const isTold = (/** @type {string} */ name) =>
    data.runs.some((/** @type {any} */ run) => run.x[name].some((/** @type {any} */ x) => x !== null));
  const told = Object.entries(X_NAMES).filter(([name]) => isTold(name));
  const x = choice(told, choices.x, (value) => {
    choices.x = /** @type {PlotChoices["x"]} */ (value);
    choices.zoom = null;
    redraw();
  });
  const smoothing = element("input", { type: "range", min: 0, max: 100, value: choices.smoothing });
  smoothing.addEventListener("change", () => {
    choices.smoothing = Number(smoothing.value);
    redraw();
  });
  const log = element("input", { type: "checkbox", checked: choices.log });
  log.addEventListener("change", () => {
    choices.log = log.checked;
    redraw();
  });
  const whole = element("button", { type: "button", disabled: choices.zoom === null }, "whole run");
  const help = element("span", { class: "note" }, "Drag to zoom, double-click for the whole run.");
  return element(
    "div",
    { class: "toolbar" },
    labelled("x", x),
    labelled("smoothing", smoothing),
    labelled("log axis", log),
    whole,
    help,
  );
}

/** @param {any} data @param {any} plan @param {any} context */
function drawPlot(data, plan, { choices, figure, full, setZoom }) {
  const xName = xNameOf(choices);
  const colors = getComputedStyle(figure);
  /** @param {string} name */
  const color = (name) => colors.getPropertyValue(`--${name}`).trim();
  const hidden = (/** @type {any} */ one) => choices.hidden.has(`${plan.title}\n${one.label}`);
  const drawn = plan.series.map((/** @type {any} */ one, /** @type {number} */ index) => {
    const run = data.runs[one.run];
    const points = pointsOf(run.x[choices.x], run.columns[one.name] ?? []);
    return { ...one, index, points, color: color(`c${index % SERIES_COLORS}`) };
  });
  const values = drawn.flatMap((/** @type {any} */ one) => one.points[1]);
  const isLog = choices.log && values.some((/** @type {number} */ value) => value > 0);
  const tables = [];
  /** @type {any[]} */
  const series = [{}];
  for (const one of drawn) {
    const dash = one.index >= SERIES_COLORS ? [6, 3] : [];
    const isTrend = one.style === "trend" && choices.smoothing > 0 && one.points[1].length > 2;
    const line = { label: one.label, stroke: one.color, dash, spanGaps: true, show: !hidden(one) };
    const above = (/** @type {number[]} */ ys) => isLog ? ys.map((y) => (y > 0 ? y : null)) : ys;
    const [xs, ys] = one.points;
    tables.push([xs, above(ys)]);
    series.push({
      ...line,
      width: isTrend ? 1 : 2,
      alpha: isTrend ? 0.35 : 1,
      points: { show: one.style === "dots" || xs.length < 3, size: 6, fill: one.color },
    });
    one.at = series.length - 1;
    if (!isTrend) continue;
    tables.push([xs, above(movingMean(ys, halfWidthOf(ys.length, choices.smoothing)))]);
    series.push({ ...line, width: 2, points: { show: false } });
  }
  const caption = element("figcaption", { class: "charttitle" }, element("b", {}, plan.title));
  const place = element("span", { class: "note" });
  caption.append(" ", place);
  const legend = element("ul", { class: "plot legend" });
  figure.append(caption);
  /** @param {any} chart @param {number | null | undefined} index */
  const tell = (chart, index) => {
    const isAt = index !== null && index !== undefined;
    place.textContent = isAt ? `${xName} ${formatNumber(chart.data[0][index])}` : "";
    drawn.forEach((/** @type {any} */ one, /** @type {number} */ i) => {
      const value = isAt ? chart.data[one.at][index] : one.points[1].at(-1);
      legend.children[i].querySelector("output").textContent = formatNumber(value);
    });
  };
  for (const one of drawn) {
    const button = element("button", { type: "button", "aria-pressed": String(!hidden(one)) }, one.label);
    legend.append(element("li", { class: `s${one.index % SERIES_COLORS}` }, button, " ", element("output")));
    button.addEventListener("click", () => {
      const key = `${plan.title}\n${one.label}`;
      if (!choices.hidden.delete(key)) choices.hidden.add(key);
      button.setAttribute("aria-pressed", String(!hidden(one)));
      for (let at = one.at; at < series.length && series[at].label === one.label; at++) {
        chart.setSeries(at, { show: !hidden(one) });
      }
    });
  }
  const stroke = color("axis");
  const lines = { stroke: color("grid"), width: 1 };
  const shownRange = (/** @type {any} */ _, /** @type {number} */ min, /** @type {number} */ max) =>
    isLog ? logRange(min, max) : plan.range ?? paddedRange(min, max, plan.threshold?.value);
  const ticks = (/** @type {any} */ _, /** @type {number[]} */ splits) =>
    splits.map((split) => split === null ? "" : formatNumber(split));
  const chart = new uPlot(
    {
      width: figure.clientWidth || 400,
      height: 250,
      legend: { show: false },
      cursor: {
        sync: {
          key: "report",
          scales: ["x", null],
          filters: { pub: (/** @type {string} */ type) => type !== "mouseup" && type !== "mousedown" },
        },
        drag: { x: true, y: false, setScale: false },
        bind: {
          dblclick: () => () => {
            setZoom(null);
            return null;
          },
        },
      },
      scales: {
        x: { time: false, range: () => choices.zoom ?? full },
        y: { distr: isLog ? 3 : 1, range: shownRange },
      },
      axes: [
        {
          stroke,
          grid: { show: false },
          ticks: lines,
          values: ticks,
          size: 32,
          ...((choices.x === "step" || choices.x === "completions") && { incrs: WHOLE }),
        },
        { stroke, grid: lines, ticks: { show: false }, values: ticks, size: 62 },
      ],
      series,
      hooks: {
        setCursor: [(/** @type {any} */ made) => tell(made, made.cursor.idx)],
        setSelect: [(/** @type {any} */ made) => {
          const { left, width } = made.select;
          if (width < 4) return;
          made.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          setZoom([made.posToVal(left, "x"), made.posToVal(left + width, "x")]);
        }],
        draw: [(/** @type {any} */ made) => drawThreshold(made, plan.threshold, stroke)],
      },
    },
    tables.length > 0 ? uPlot.join(tables) : [[]],
    figure,
  );
  figure.append(legend);
  tell(chart, null);
  return chart;
}

/** @param {any} chart @param {{ value: number, label: string } | undefined} threshold @param {string} stroke */
function drawThreshold(chart, threshold, stroke) {
  const { min, max } = chart.scales.y;
  if (!threshold || !(threshold.value >= min && threshold.value <= max)) return;
  const { ctx, bbox } = chart;
  const y = chart.valToPos(threshold.value, "y", true);
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = stroke;
  ctx.setLineDash([5, 4]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.textAlign = "right";
  ctx.fillText(threshold.label, bbox.left + bbox.width - 4, y - 4);
  ctx.restore();
}

/** The points that have a value. @param {(number | null)[]} xs @param {(number | null)[]} ys */
function pointsOf(xs, ys) {
  const kept = ys.flatMap((y, i) => (y === null || xs[i] === null ? [] : [i]));
  return [kept.map((i) => xs[i]), kept.map((i) => ys[i])];
}

/** Neighbours on either side that a value is averaged with. @param {number} count @param {number} smoothing 0 to 100 */
const halfWidthOf = (count, smoothing) => Math.max(1, Math.round(count * (smoothing / 100) ** 2 / 4));

/** @param {number[]} values @param {number} halfWidth */
function movingMean(values, halfWidth) {
  const sums = [0];
  for (const value of values) sums.push(sums[sums.length - 1] + value);
  return values.map((_, i) => {
    const from = Math.max(0, i - halfWidth);
    const to = Math.min(values.length, i + halfWidth + 1);
    return (sums[to] - sums[from]) / (to - from);
  });
}

/** @param {(number | null)[]} values @returns {[number, number]} wider than 0 */
export function extentOf(values) {
  let min = Infinity;
  let max = -Infinity;
  for (const value of values) {
    if (value === null) continue;
    min = Math.min(min, value);
    max = Math.max(max, value);
  }
  if (min > max) return [0, 1];
  return min === max ? [min - 0.5, max + 0.5] : [min, max];
}

/** @param {number} min @param {number} max @param {number} [beside] a value that is in it */
function paddedRange(min, max, beside) {
  if (min === null || max === null) return [0, 1];
  const low = Math.min(min, beside ?? min);
  const high = Math.max(max, beside ?? max);
  const span = high - low;
  const room = span > 1e-3 * Math.max(Math.abs(low), Math.abs(high))
    ? 0.05 * span
    : Math.abs(low) > 0
    ? Math.abs(low) * 0.1
    : 1;
  return [low - room, high + room];
}

/** @param {number} min @param {number} max */
const logRange = (min, max) => min === null || max === null || min <= 0 ? [0.1, 1] : [min / 1.2, max * 1.2];
