/** Line, scatter and frontier plots as SVG text. Colours come from PLOT_CSS, which the page must hold once. */
import { quadrantOf } from "../rl/quadrants.ts";
import type { Quadrant } from "../rl/quadrants.ts";
import { formatNumber, niceTicks, paddedRange } from "./plot_axes.ts";
import { escapeHtml } from "./printable.ts";
import { evenlySpacedIndices, extent, movingMean } from "./statistics.ts";

export interface Series {
  label: string;
  steps: readonly number[];
  values: readonly number[];
  /**
   * `trend`: the values, faint, under their moving mean. `line`: the values. `dots`: few values, marked each.
   */
  style: "trend" | "line" | "dots";
}

export interface LinePlot {
  title: string;
  series: readonly Series[];
  /** Horizontal dashed line, such as the cost threshold. */
  threshold?: { value: number; label: string };
  /** Range of the y axis; fitted to the values when left out. */
  range?: readonly [number, number];
}

export interface ScatterPlot {
  title: string;
  rewards: readonly number[];
  costs: readonly number[];
  /** Shared by plots that stand side by side; fitted to the points when left out. */
  ranges?: { x: readonly [number, number]; y: readonly [number, number] };
}

/** In a picture's own units; the axes' labels stand in the margins. */
export const PLOT_SIZE = { width: 560, height: 280, margin: { left: 58, right: 14, top: 34, bottom: 40 } };
const { width: WIDTH, height: HEIGHT, margin: MARGIN } = PLOT_SIZE;
const BOTTOM = HEIGHT - MARGIN.bottom;
const RIGHT = WIDTH - MARGIN.right;
const SERIES_COLORS = 8;
/** Points of a quadrant that are drawn; all are counted. */
const MOST_POINTS = 500;
/** Of a scatter plot's counts, which stand above and below its frame. */
const COUNTS_HEIGHT = 22;

/** After Okabe and Ito's colours, which colour-blind readers can tell apart, adapted to both backgrounds. */
export const PLOT_CSS = `
.plot{--c0:#0072b2;--c1:#c44e00;--c2:#00805c;--c3:#a8467f;--c4:#946800;--c5:#2b7fae;--c6:#6b5bd2;--c7:#555;
--axis:#6b7280;--grid:#e5e7eb;--text:#1f2937}
@media (prefers-color-scheme:dark){.plot{--c0:#56b4e9;--c1:#ff8f4d;--c2:#2fc79a;--c3:#e39ac4;--c4:#e6b030;
--c5:#8fd0f5;
--c6:#a99cf5;--c7:#b5b5b5;--axis:#9ca3af;--grid:#374151;--text:#e5e7eb}}
svg.plot{width:100%;height:auto;display:block;font:12px system-ui,sans-serif}
.legend{list-style:none;display:flex;flex-wrap:wrap;
gap:.2rem 1.2rem;margin:.3rem 0 0;padding:0 0 0 .3rem;font-size:.85rem}
.legend li::before{content:"";display:inline-block;width:1.1em;height:.25em;margin-right:.4em;
vertical-align:middle;background:var(--c)}
.plot text{fill:var(--text)}.plot .title{font-weight:600;font-size:13px}
.plot .grid{stroke:var(--grid)}.plot .axis{stroke:var(--axis)}.plot path{fill:none;stroke:var(--c)}
.plot .faint{opacity:.3}.plot .bold{stroke-width:2;stroke-linejoin:round}
.plot .dots{stroke-width:7;stroke-linecap:round}.plot .points{stroke-width:4;stroke-linecap:round;opacity:.55}
.plot .threshold{stroke:var(--axis);stroke-dasharray:5 4}.plot .muted{fill:var(--axis)}
${Array.from({ length: SERIES_COLORS }, (_, index) => `.plot .s${index}{--c:var(--c${index})}`).join("")}
`;

/** Metrics over steps. Series take the colours of `plotLegend`, in their order. */
export function linePlot(plot: LinePlot): string {
  const { series } = plot;
  const thresholds = plot.threshold === undefined ? [] : [plot.threshold.value];
  const x = axis(extent(series.flatMap(({ steps }) => steps)) ?? [0, 1], MARGIN.left, RIGHT);
  const fitted = extent([...series.flatMap(({ values }) => values), ...thresholds]) ?? [0, 1];
  const y = axis(plot.range ?? paddedRange(...fitted), BOTTOM, MARGIN.top);
  const body = [
    frame(x, y, "step", ""),
    ...(plot.threshold === undefined ? [] : [thresholdLine(plot.threshold, y)]),
    ...series.map((one, index) => seriesPaths(one, index, x, y)),
  ];
  const spoken = series.map(({ label, values }) => {
    const [min, max] = extent(values) ?? [NaN, NaN];
    const [first, last] = [values[0], values[values.length - 1]].map((value) => formatNumber(value));
    return `${label}: first ${first}, last ${last}, between ${formatNumber(min)} and ${formatNumber(max)}.`;
  });
  return figure(plot.title, spoken.join(" "), body);
}

/** The colours of series 0, 1, ... with their names, as an HTML list. */
export function plotLegend(labels: readonly string[]): string {
  const items = labels.map((label, index) =>
    `<li class="s${index % SERIES_COLORS}">${escapeHtml(label)}</li>`
  );
  return `<ul class="plot legend">${items.join("")}</ul>`;
}

const QUADRANTS: Record<Quadrant, { name: string; color: number; anchor: "start" | "end"; atTop: boolean }> =
  {
    SH: { name: "safe, helpful", color: 2, anchor: "end", atTop: false },
    SU: { name: "safe, unhelpful", color: 0, anchor: "start", atTop: false },
    UH: { name: "unsafe, helpful", color: 4, anchor: "end", atTop: true },
    UU: { name: "unsafe, unhelpful", color: 1, anchor: "start", atTop: true },
  };

/** Reward (x) against cost (y), with the four quadrants coloured, and counted beside the frame. */
export function scatterPlot(plot: ScatterPlot): string {
  const { rewards, costs } = plot;
  const x = axis(plot.ranges?.x ?? scatterRange(rewards), MARGIN.left, RIGHT);
  const y = axis(plot.ranges?.y ?? scatterRange(costs), BOTTOM, MARGIN.top);
  const quadrants = rewards.map((reward, index) => quadrantOf(reward, costs[index]));
  const spoken: string[] = [];
  const layers = (Object.keys(QUADRANTS) as Quadrant[]).flatMap((quadrant) => {
    const { name, color, anchor, atTop } = QUADRANTS[quadrant];
    const members = quadrants.flatMap((other, index) => (other === quadrant ? [index] : []));
    const drawn = evenlySpacedIndices(members.length, MOST_POINTS).map((at) => members[at]);
    const points = drawn.map((index) => `M${x.at(rewards[index])} ${y.at(costs[index])}h0`).join("");
    const percent = rewards.length === 0 ? 0 : (100 * members.length) / rewards.length;
    spoken.push(`${quadrant}, ${name}: ${members.length}.`);
    const label = `${quadrant} ${members.length} (${percent.toFixed(0)}%)`;
    const at = `x="${anchor === "end" ? RIGHT : MARGIN.left}" y="${
      atTop ? MARGIN.top - 8 : BOTTOM + MARGIN.bottom + 4
    }"`;
    return [
      `<path class="points s${color}" d="${points}"/>`,
      `<text class="title" ${at} text-anchor="${anchor}">${label}<title>${name}</title></text>`,
    ];
  });
  const zero = `<path class="threshold" d="M${x.at(0)} ${MARGIN.top}V${BOTTOM}M${MARGIN.left} ${
    y.at(0)
  }H${RIGHT}"/>`;
  // The counts stand outside of the frame, where no point is: the whole is moved down below those of the top.
  const body = `<g transform="translate(0 ${COUNTS_HEIGHT})">${
    [frame(x, y, "reward", "cost"), zero, ...layers].join("")
  }</g>`;
  return figure(plot.title, spoken.join(" "), [body], HEIGHT + 2 * COUNTS_HEIGHT);
}

/** Where a run ended, such as one of a sweep. */
export interface FrontierPoint {
  label: string;
  reward: number;
  safeRatio: number;
}

/**
 * Reward (x) against safe ratio (y) of several runs, each named; a line joins those that no other run beats in both.
 */
export function frontierPlot(title: string, runs: readonly FrontierPoint[]): string {
  const x = axis(paddedRange(...(extent(runs.map(({ reward }) => reward)) ?? [0, 1])), MARGIN.left, RIGHT);
  const y = axis(
    paddedRange(...(extent(runs.map(({ safeRatio }) => safeRatio)) ?? [0, 1])),
    BOTTOM,
    MARGIN.top,
  );
  const best = runs.filter((one) =>
    !runs.some((other) =>
      other.reward >= one.reward && other.safeRatio >= one.safeRatio &&
      (other.reward > one.reward || other.safeRatio > one.safeRatio)
    )
  ).sort((a, b) => a.reward - b.reward);
  const line = best.map(({ reward, safeRatio }, i) => `${i ? "L" : "M"}${x.at(reward)} ${y.at(safeRatio)}`);
  const points = runs.map(({ label, reward, safeRatio }, i) => {
    const [px, py] = [x.at(reward), y.at(safeRatio)];
    const [anchor, beside] = px > (MARGIN.left + RIGHT) / 2 ? ["end", -8] : ["start", 8];
    return `<path class="dots s${i % SERIES_COLORS}" d="M${px} ${py}h0"/>` +
      `<text x="${px + beside}" y="${py + 4}" text-anchor="${anchor}">${escapeHtml(label)}</text>`;
  });
  const spoken = runs.map(({ label, reward, safeRatio }) =>
    `${label}: reward ${formatNumber(reward)}, safe ratio ${formatNumber(safeRatio)}.`
  );
  return figure(title, spoken.join(" "), [
    frame(x, y, "reward", "safe ratio"),
    `<path class="threshold" d="${line.join("")}"/>`,
    ...points,
  ]);
}

/** Range of a scatter plot's axis; 0 is always in it, since it parts the quadrants. */
export function scatterRange(values: readonly number[]): [number, number] {
  const [min, max] = extent(values) ?? [-1, 1];
  return paddedRange(Math.min(min, 0), Math.max(max, 0));
}

interface Axis {
  ticks: readonly number[];
  /** Position in the picture, to a tenth of a pixel. */
  at: (value: number) => number;
}

function axis([min, max]: readonly [number, number], from: number, to: number): Axis {
  const span = max - min || 1;
  return {
    ticks: niceTicks(min, min + span, 5),
    at: (value) => Math.round((from + ((value - min) / span) * (to - from)) * 10) / 10,
  };
}

function frame(x: Axis, y: Axis, xLabel: string, yLabel: string): string {
  const rows = y.ticks.map((tick) =>
    `<line class="grid" x1="${MARGIN.left}" x2="${RIGHT}" y1="${y.at(tick)}" y2="${y.at(tick)}"/>` +
    `<text x="${MARGIN.left - 8}" y="${y.at(tick) + 4}" text-anchor="end">${formatNumber(tick)}</text>`
  );
  const columns = x.ticks.map((tick) =>
    `<line class="axis" x1="${x.at(tick)}" x2="${x.at(tick)}" y1="${BOTTOM}" y2="${BOTTOM + 4}"/>` +
    `<text x="${x.at(tick)}" y="${BOTTOM + 17}" text-anchor="middle">${formatNumber(tick)}</text>`
  );
  const middle = (MARGIN.left + RIGHT) / 2;
  return rows.join("") + columns.join("") +
    `<line class="axis" x1="${MARGIN.left}" x2="${RIGHT}" y1="${BOTTOM}" y2="${BOTTOM}"/>` +
    `<text class="muted" x="${middle}" y="${HEIGHT - 6}" text-anchor="middle">${xLabel}</text>` +
    `<text class="muted" transform="translate(13 ${
      (MARGIN.top + BOTTOM) / 2
    }) rotate(-90)" text-anchor="middle">` +
    `${yLabel}</text>`;
}

function seriesPaths({ steps, values, style }: Series, index: number, x: Axis, y: Axis): string {
  const color = `s${index % SERIES_COLORS}`;
  const path = (ys: readonly number[]) =>
    ys.map((value, i) => `${i ? "L" : "M"}${x.at(steps[i])} ${y.at(value)}`).join("");
  if (style === "line") return `<path class="bold ${color}" d="${path(values)}"/>`;
  if (style === "dots") {
    const marks = values.map((value, i) => `M${x.at(steps[i])} ${y.at(value)}h0`).join("");
    return `<path class="${color}" d="${path(values)}"/><path class="dots ${color}" d="${marks}"/>`;
  }
  const smooth = movingMean(values, Math.max(1, Math.round(values.length / 25)));
  return `<path class="faint ${color}" d="${path(values)}"/><path class="bold ${color}" d="${
    path(smooth)
  }"/>`;
}

function thresholdLine({ value, label }: { value: number; label: string }, y: Axis): string {
  const at = y.at(value);
  return `<line class="threshold" x1="${MARGIN.left}" x2="${RIGHT}" y1="${at}" y2="${at}"/>` +
    `<text class="muted" x="${RIGHT}" y="${at - 5}" text-anchor="end">${escapeHtml(label)}</text>`;
}

/** A picture with its title, and a description for those who cannot see it. @param body SVG */
export function figure(
  title: string,
  description: string,
  body: readonly string[],
  height: number = HEIGHT,
): string {
  return `<svg class="plot" viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${escapeHtml(title)}">` +
    `<desc>${escapeHtml(description)}</desc><text class="title" x="4" y="18">${escapeHtml(title)}</text>` +
    `${body.join("")}</svg>`;
}
