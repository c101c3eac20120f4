/** Bars in groups as SVG text. Colours come from PLOT_CSS, which the page must hold once. */
import { formatNumber, niceTicks } from "./plot_axes.ts";
import { figure, PLOT_SIZE } from "./plot_svg.ts";
import { escapeHtml } from "./printable.ts";

export interface BarPlot {
  title: string;
  yLabel: string;
  /** From left to right; each has a bar for some of the series. */
  groups: readonly { label: string; bars: readonly { series: number; value: number; title: string }[] }[];
}

const { width: WIDTH, height: HEIGHT, margin: MARGIN } = PLOT_SIZE;
const BOTTOM = HEIGHT - MARGIN.bottom;
const RIGHT = WIDTH - MARGIN.right;
/** Labels of groups that stand side by side. */
const MOST_LABELS = 16;
/** Of a group's width, what is left between it and the next. */
const GAP = 0.2;

/** Bars from 0 on. */
export function barPlot({ title, yLabel, groups }: BarPlot): string {
  const most = Math.max(...groups.flatMap(({ bars }) => bars.map(({ value }) => value)), Number.MIN_VALUE);
  const y = (value: number) => round(BOTTOM - (value / most) * (BOTTOM - MARGIN.top));
  const wide = (RIGHT - MARGIN.left) / Math.max(groups.length, 1);
  const every = Math.ceil(groups.length / MOST_LABELS);
  const rows = niceTicks(0, most).map((tick) =>
    `<line class="grid" x1="${MARGIN.left}" x2="${RIGHT}" y1="${y(tick)}" y2="${y(tick)}"/>` +
    `<text x="${MARGIN.left - 8}" y="${y(tick) + 4}" text-anchor="end">${formatNumber(tick)}</text>`
  );
  const columns = groups.map(({ label, bars }, i) => {
    const left = MARGIN.left + i * wide;
    const barWide = wide * (1 - GAP) / Math.max(bars.length, 1);
    const drawn = bars.map(({ series, value, title: said }, b) =>
      `<rect class="bar s${series}" x="${round(left + wide * GAP / 2 + b * barWide)}" y="${y(value)}" ` +
      `width="${round(Math.max(barWide - 0.5, 0.5))}" height="${round(BOTTOM - y(value))}">` +
      `<title>${escapeHtml(said)}</title></rect>`
    );
    // The ends, which are named, and numbers in between as there is room.
    const isShown = i === 0 || i === groups.length - 1 || (i - 1) % every === 0;
    const text = isShown && !(i > groups.length - 1 - every / 2 && i < groups.length - 1)
      ? `<text x="${round(left + wide / 2)}" y="${BOTTOM + 17}" text-anchor="middle">${
        escapeHtml(label)
      }</text>`
      : "";
    return drawn.join("") + text;
  });
  const spoken = groups.flatMap(({ bars }) => bars.map(({ title: said }) => said)).join("; ");
  return figure(title, spoken, [
    ...rows,
    ...columns,
    `<line class="axis" x1="${MARGIN.left}" x2="${RIGHT}" y1="${BOTTOM}" y2="${BOTTOM}"/>`,
    `<text class="muted" x="${(MARGIN.left + RIGHT) / 2}" y="${
      HEIGHT - 6
    }" text-anchor="middle">layer</text>`,
    `<text class="muted" transform="translate(13 ${(MARGIN.top + BOTTOM) / 2}) rotate(-90)" ` +
    `text-anchor="middle">${escapeHtml(yLabel)}</text>`,
  ]);
}

const round = (value: number) => Math.round(value * 10) / 10;
