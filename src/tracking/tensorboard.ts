/** TensorBoard: an event file in the run's `runs/` that grows with the run. */
import { mkdir, open, readdir } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join } from "node:path";
import type { MetricRow } from "./metrics.ts";
import { hfName } from "./hf_names.ts";
import { escapeMarkdownCell } from "./printable.ts";
import { samplesMarkdown, SCATTER_TAGS, SCATTER_TITLES, TABLE_TAGS } from "./samples.ts";
import { SCATTER_PIXELS, scatterPng } from "./scatter_png.ts";
import type { Sink } from "./sink.ts";
import { encodeEvent, frameRecord } from "./tensorboard_events.ts";
import type { EventContent, Image } from "./tensorboard_events.ts";

export interface TensorBoardOptions {
  /**
   * First step that this file will hold; more than 0 when a run goes on, so that its redone steps appear
   * once.
   */
  firstStep?: number;
  /** Wall clock, seconds since 1970. */
  now?: () => number;
}

export interface TensorBoardWriter {
  /** All entries become scalars of this step, in one record. */
  scalars(entries: Iterable<readonly [tag: string, value: number]>, step: number): Promise<void>;
  /** Distribution of the finite values; writes nothing when there are none. */
  histogram(tag: string, values: readonly number[], step: number): Promise<void>;
  text(tag: string, markdown: string, step: number): Promise<void>;
  image(tag: string, image: Image, step: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens a new event file in `runsDir`, which TensorBoard merges with the older ones there.
 *
 * A record is one write: a run that is killed leaves at most one torn record at the end of its file, and a
 * reader goes on with the next file. The new file tells readers to forget what older files say of `firstStep`
 * and later steps. (TensorBoard takes the first such mark as the start of the run, so the first file needs
 * one too.)
 *
 * @throws Error from the file system when the folder cannot be written
 */
export async function openTensorBoard(
  runsDir: string,
  options: TensorBoardOptions = {},
): Promise<TensorBoardWriter> {
  const now = options.now ?? (() => Date.now() / 1000);
  await mkdir(runsDir, { recursive: true });
  const file = await open(join(runsDir, nextFileName(await readdir(runsDir), now())), "wx");
  const append = (content: EventContent, step: number) => appendRecord(file, content, step, now());

  try {
    await append({ kind: "fileVersion" }, 0);
    await append({ kind: "sessionStart" }, options.firstStep ?? 0);
  } catch (error) {
    await file.close().catch(() => {}); // the first error is the one to report
    throw error;
  }
  return {
    scalars: (entries, step) => append({ kind: "scalars", values: [...entries] }, step),
    histogram: async (tag, values, step) => {
      if (values.some(Number.isFinite)) await append({ kind: "histogram", tag, values }, step);
    },
    text: (tag, markdown, step) => append({ kind: "text", tag, markdown }, step),
    image: (tag, image, step) => append({ kind: "image", tag, ...image }, step),
    close: () => file.close(),
  };
}

/**
 * Name of an event file that sorts after all `existing` ones. Readers take a folder's files in the order of
 * their names, and a purge only reaches what was read before it; a clock set back must not undo that.
 */
export function nextFileName(existing: readonly string[], nowSeconds: number): string {
  const stamps = existing.map((name) => Number(/tfevents\.(\d+)/.exec(name)?.[1] ?? 0));
  const stamp = stamps.reduce((latest, other) => Math.max(latest, other + 1), Math.floor(nowSeconds));
  return `events.out.tfevents.${String(stamp).padStart(10, "0")}.grpo-webgpu`;
}

/** The config for the text panel, a key to a row. */
function configMarkdown(config: Readonly<Record<string, unknown>>): string {
  const rows = Object.entries(config).map(([key, value]) =>
    `| ${escapeMarkdownCell(key)} | ${escapeMarkdownCell(JSON.stringify(value))} |`
  );
  return ["| setting | value |", "|---|---|", ...rows].join("\n");
}

export function tensorBoard(): Sink {
  let board: TensorBoardWriter | null = null;
  let nameOf = (name: string) => name;
  const showRow = ({ step, ...metrics }: MetricRow) =>
    board!.scalars(Object.entries(metrics).map(([name, value]) => [nameOf(name), value] as const), step);
  return {
    name: "TensorBoard",
    isRecord: false,
    async start({ runDir, config, firstStep, now }) {
      if (config.tensorboard_names === "hf") nameOf = hfName;
      board = await openTensorBoard(join(runDir, "runs"), { firstStep, now });
      await board.text("config", configMarkdown(config), firstStep);
    },
    step: showRow,
    evaluation: showRow,
    histogram: ({ tag, values, step }) => board!.histogram(tag, values, step),
    table: ({ split, samples, step }) => board!.text(TABLE_TAGS[split], samplesMarkdown(samples), step),
    scatter(split, { step, rewards, costs }) {
      const png = scatterPng({ title: SCATTER_TITLES[split], rewards, costs });
      return board!.image(SCATTER_TAGS[split], { png, ...SCATTER_PIXELS }, step);
    },
    close: () => board?.close(),
  };
}

async function appendRecord(
  file: FileHandle,
  content: EventContent,
  step: number,
  now: number,
): Promise<void> {
  await file.appendFile(frameRecord(encodeEvent(content, step, now)));
}
