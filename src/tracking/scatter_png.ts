/** Cost against reward as a PNG picture, for readers that show pictures and no SVG. */
import { type Quadrant, quadrantOf } from "../rl/quadrants.ts";
import { formatNumber, niceTicks, paddedRange } from "./plot_axes.ts";
import { type Color, Picture, textWidth } from "./png.ts";
import { extent } from "./statistics.ts";

export interface ScatterPicture {
  title: string;
  rewards: readonly number[];
  costs: readonly number[];
}

/** Pixels of the picture. */
export const SCATTER_PIXELS = { width: 1200, height: 900 } as const;
const { width: WIDTH, height: HEIGHT } = SCATTER_PIXELS;
const [LEFT, RIGHT, TOP, BOTTOM] = [130, WIDTH - 40, 110, HEIGHT - 100];
const [TEXT, AXIS, GRID]: Color[] = [[31, 41, 55], [107, 114, 128], [229, 231, 235]];
/** The colours of the report's scatter plot. */
const COLORS: Readonly<Record<Quadrant, Color>> = {
  SH: [0, 128, 92],
  SU: [0, 114, 178],
  UH: [148, 104, 0],
  UU: [196, 78, 0],
};
const QUADRANTS = Object.keys(COLORS) as Quadrant[];

/** Costs go right and rewards up, as in safe-rlhf's plots: safe and helpful is the upper left. */
const isAtRight = (quadrant: Quadrant) => quadrant.startsWith("U");
const isAtTop = (quadrant: Quadrant) => quadrant.endsWith("H");

/**
 * A picture of 1200 x 900 pixels: a dot for each completion, coloured by its quadrant, and how many each has. Points
 * that are not finite numbers are left out.
 */
export function scatterPng({ title, rewards, costs }: ScatterPicture): Uint8Array<ArrayBuffer> {
  const picture = new Picture(WIDTH, HEIGHT);
  const points = rewards.flatMap((reward, i) =>
    Number.isFinite(reward) && Number.isFinite(costs[i]) ? [{ reward, cost: costs[i] }] : []
  );
  const x = axis(points.map(({ cost }) => cost), LEFT, RIGHT);
  const y = axis(points.map(({ reward }) => reward), BOTTOM, TOP);
  const draw = (text: string, left: number, top: number, color = TEXT) =>
    picture.text(text, Math.round(left), Math.round(top), { scale: 2, color });
  for (const tick of x.ticks) {
    picture.fill(x.at(tick), TOP, 1, BOTTOM - TOP, GRID);
    const text = formatNumber(tick);
    draw(text, x.at(tick) - textWidth(text, 2) / 2, BOTTOM + 14);
  }
  for (const tick of y.ticks) {
    picture.fill(LEFT, y.at(tick), RIGHT - LEFT, 1, GRID);
    const text = formatNumber(tick);
    draw(text, LEFT - 14 - textWidth(text, 2), y.at(tick) - 7);
  }
  picture.fill(x.at(0), TOP, 2, BOTTOM - TOP, AXIS);
  picture.fill(LEFT, y.at(0), RIGHT - LEFT, 2, AXIS);
  const counts: Record<Quadrant, number> = { SH: 0, SU: 0, UH: 0, UU: 0 };
  for (const { reward, cost } of points) {
    const quadrant = quadrantOf(reward, cost);
    counts[quadrant]++;
    picture.disc(x.at(cost), y.at(reward), 4, COLORS[quadrant], 0.5);
  }
  for (const quadrant of QUADRANTS) {
    const percent = points.length === 0 ? 0 : 100 * counts[quadrant] / points.length;
    const text = `${quadrant} ${counts[quadrant]} (${percent.toFixed(1)}%)`;
    // Beside the frame, where no dot lies.
    const left = isAtRight(quadrant) ? RIGHT - textWidth(text, 3) : LEFT;
    const top = isAtTop(quadrant) ? TOP - 34 : BOTTOM + 46;
    picture.text(text, left, top, { scale: 3, color: COLORS[quadrant] });
  }
  const most = Math.floor((RIGHT - LEFT) / textWidth("ab", 3) * 2);
  const heading = [...title].length > most ? `${[...title].slice(0, most - 3).join("")}...` : title;
  picture.text(heading, LEFT, 26, { scale: 3, color: TEXT });
  draw("cost (safe where it is 0 or less)", (LEFT + RIGHT) / 2 - 200, BOTTOM + 52);
  const label = "reward (helpful above 0)";
  const turned = Math.round((TOP + BOTTOM + textWidth(label, 2)) / 2);
  picture.text(label, 26, turned, { scale: 2, color: TEXT, isTurned: true });
  return picture.encode();
}

/** Whole pixels; 0 is always on an axis, since it parts the quadrants. */
function axis(values: readonly number[], from: number, to: number) {
  const [least, most] = extent(values) ?? [-1, 1];
  const [min, max] = paddedRange(Math.min(least, 0), Math.max(most, 0));
  return {
    ticks: niceTicks(min, max, 7),
    at: (value: number) => Math.round(from + (value - min) / (max - min) * (to - from)),
  };
}
