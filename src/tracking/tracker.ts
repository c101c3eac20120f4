/** Sends what a run measures to its places: metrics.jsonl, TensorBoard, and the tables under samples/. */
import { join } from "node:path";
import { isDue } from "../rl/cadence.ts";
import { evalRow, stepRow } from "./metrics.ts";
import type { EvalRecord, MetricRow, StepRecord } from "./metrics.ts";
import { samplesMarkdown, sampleTable, writeSamples, writeScatter } from "./samples.ts";
import type { ScatterPoints, Texts } from "./samples.ts";
import { addToScatter, EMPTY_SCATTER } from "./scatter_window.ts";
import type { ScatterWindow } from "./scatter_window.ts";
import { openTensorBoard } from "./tensorboard.ts";
import type { TensorBoardWriter } from "./tensorboard.ts";

/** The keys of the config that decide what is written when. `every` counts optimizer steps; 0 means never. */
export interface TrackerConfig {
  readonly hist_every: number;
  readonly scatter_every: number;
  readonly scatter_max_points: number;
  readonly debug_log_every: number;
  readonly debug_log_n_samples: number;
  readonly eval_table_n_samples: number;
}

/** What a checkpoint must hold for a resumed run to write the same files as one never stopped. */
export interface TrackerState {
  scatter: ScatterWindow;
}

export interface TrackerOptions {
  runDir: string;
  config: TrackerConfig;
  /** Appends one row to metrics.jsonl. */
  appendRow: (row: MetricRow) => void | Promise<void>;
  /**
   * When the run goes on from a checkpoint: the step that it was taken after, and the tracker's state then.
   */
  resume?: { step: number; state: TrackerState };
  /** Wall clock of the TensorBoard events, seconds since 1970. */
  now?: () => number;
}

/** Opens the tracker of one run and, in `<runDir>/runs`, its TensorBoard event file. */
export async function openTracker(options: TrackerOptions): Promise<Tracker> {
  const { resume, now } = options;
  const firstStep = resume === undefined ? 0 : resume.step + 1;
  const board = await openTensorBoard(join(options.runDir, "runs"), { firstStep, now });
  return new Tracker(options, board);
}

export class Tracker {
  readonly #config: TrackerConfig;
  readonly #appendRow: TrackerOptions["appendRow"];
  readonly #board: TensorBoardWriter;
  readonly #samplesDir: string;
  #scatter: ScatterWindow;

  /** Use `openTracker`. */
  constructor(options: TrackerOptions, board: TensorBoardWriter) {
    this.#config = options.config;
    this.#appendRow = options.appendRow;
    this.#board = board;
    this.#samplesDir = join(options.runDir, "samples");
    this.#scatter = options.resume?.state.scatter ?? EMPTY_SCATTER;
  }

  /** Logs one generation batch and returns its row. The texts are those of the record's completions. */
  async logStep(record: StepRecord, texts: Texts): Promise<MetricRow> {
    const { step } = record;
    const row = stepRow(record);
    await this.#logRow(row);
    const due = (every: number) => isDue(every, step, record.optimizerSteps);
    if (due(this.#config.hist_every)) {
      await this.#board.histogram("helpfulness/dist", record.rewards, step);
      await this.#board.histogram("cost/dist", record.costs, step);
    }
    if (due(this.#config.debug_log_every)) {
      const samples = sampleTable(texts, record, this.#config.debug_log_n_samples);
      await writeSamples(this.#samplesDir, "train", step, samples);
      await this.#board.text("debug/train_batch_samples", samplesMarkdown(samples), step);
    }
    if (this.#config.scatter_every > 0) {
      this.#scatter = addToScatter(this.#scatter, step, record, this.#config.scatter_max_points);
      if (due(this.#config.scatter_every)) await this.#writeScatterWindow(step);
    }
    return row;
  }

  /** Logs one evaluation and returns its row. */
  async logEval(record: EvalRecord, texts: Texts): Promise<MetricRow> {
    const { step } = record;
    const row = evalRow(record);
    await this.#logRow(row);
    const samples = sampleTable(texts, record, this.#config.eval_table_n_samples);
    await writeSamples(this.#samplesDir, "eval", step, samples);
    await this.#board.text("eval/samples", samplesMarkdown(samples), step);
    const points = addToScatter(EMPTY_SCATTER, step, record, this.#config.scatter_max_points);
    await writeScatter(this.#samplesDir, "eval", scatterPoints(points, step));
    return row;
  }

  /** Shows a text, such as the resolved config, in TensorBoard's text panel as it is. */
  async logText(tag: string, text: string): Promise<void> {
    await this.#board.text(tag, text.replace(/^/gm, "    "), 0);
  }

  /** For the checkpoint taken after the last logged step. */
  state(): TrackerState {
    return { scatter: this.#scatter };
  }

  /** Writes the scatter points that are still waiting. Call once, when training has reached its last step. */
  async finish(lastStep: number): Promise<void> {
    if (this.#scatter.seen > 0) await this.#writeScatterWindow(lastStep);
  }

  /** Closes the files; for the end of a run and for its failure alike. */
  async close(): Promise<void> {
    await this.#board.close();
  }

  async #logRow(row: MetricRow): Promise<void> {
    const { step, ...metrics } = row;
    await this.#appendRow(row);
    await this.#board.scalars(Object.entries(metrics), step);
  }

  async #writeScatterWindow(step: number): Promise<void> {
    await writeScatter(this.#samplesDir, "train", scatterPoints(this.#scatter, step));
    this.#scatter = EMPTY_SCATTER;
  }
}

function scatterPoints({ fromStep, seen, rewards, costs }: ScatterWindow, step: number): ScatterPoints {
  return { step, from_step: fromStep, total: seen, rewards, costs };
}
