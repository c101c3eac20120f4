/** What of a run is logged when: rows of metrics, histograms, tables and scatter plots, for every sink. */
import { isDue } from "../rl/cadence.ts";
import { type FanOut, fanOut } from "./fan_out.ts";
import { evalRow, stepRow } from "./metrics.ts";
import type { EvalRecord, Judgements, MetricRow, StepRecord } from "./metrics.ts";
import { rolloutRecords, type SampledCompletion } from "./rollout_records.ts";
import { type CompletionFacts, sampleTable } from "./samples.ts";
import type { ScatterPoints, Split, Texts } from "./samples.ts";
import { addToScatter, EMPTY_SCATTER } from "./scatter_window.ts";
import type { ScatterWindow } from "./scatter_window.ts";
import type { Sink } from "./sink.ts";
import { stepAdvantages } from "./step_advantages.ts";

/** The keys of the config that decide what is logged when. `every` counts optimizer steps; 0 means never. */
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
  /** The resolved config; a sink is told all of it. */
  config: TrackerConfig;
  /** In the order in which they are told. */
  sinks: readonly Sink[];
  /** Told once of each sink that fails and is done without. */
  onMessage(text: string): void;
  /**
   * When the run goes on from a checkpoint: the step that it was taken after, and the tracker's state then.
   */
  resume?: { step: number; state: TrackerState };
  /** Rows of metrics.jsonl up to the checkpoint; none unless given. */
  rowsBefore?: readonly MetricRow[];
  /** Prompts that are trained on; 0 unless given. */
  promptCount?: number;
  /** What the run holds of GPU memory now; nothing unless given. */
  gpuBytes?: () => number;
  /** Wall clock, seconds since 1970. */
  now?: () => number;
}

/**
 * Opens the tracker of one run and its sinks.
 * @throws what a record among the sinks threw; so do the tracker's methods
 */
export async function openTracker(options: TrackerOptions): Promise<Tracker> {
  const { runDir, config, resume, rowsBefore = [], promptCount = 0, gpuBytes = () => 0 } = options;
  const { now = () => Date.now() / 1000 } = options;
  const sinks = fanOut(options.sinks, options.onMessage);
  const firstStep = resume === undefined ? 0 : resume.step + 1;
  await sinks.tell("start", {
    runDir,
    config: { ...config },
    firstStep,
    rowsBefore,
    promptCount,
    gpuBytes,
    onMessage: options.onMessage,
    now,
  });
  return new Tracker(config, sinks, resume?.state.scatter ?? EMPTY_SCATTER);
}

export class Tracker {
  readonly #config: TrackerConfig;
  readonly #sinks: FanOut;
  #scatter: ScatterWindow;

  /** Use `openTracker`. */
  constructor(config: TrackerConfig, sinks: FanOut, scatter: ScatterWindow) {
    this.#config = config;
    this.#sinks = sinks;
    this.#scatter = scatter;
  }

  /**
   * Logs one generation batch and returns its row. The texts are those of the record's completions.
   * @param sampled of the same completions, where every one is kept
   * @throws what a record threw that could not take all of it: it is owed the rest
   */
  async logStep(
    record: StepRecord,
    texts: Texts,
    sampled: readonly SampledCompletion[] | null = null,
  ): Promise<MetricRow> {
    const { step } = record;
    const row = stepRow(record);
    await this.#sinks.tell("step", row);
    if (sampled) {
      await this.#sinks.tell("completions", { step, rollouts: rolloutRecords(record, texts, sampled) });
    }
    const due = (every: number) => isDue(every, step, record.optimizerSteps);
    if (due(this.#config.hist_every)) {
      await this.#sinks.tell("histogram", { tag: "helpfulness/dist", values: record.rewards, step });
      await this.#sinks.tell("histogram", { tag: "cost/dist", values: record.costs, step });
    }
    if (due(this.#config.debug_log_every)) {
      const advantages = stepAdvantages(record);
      await this.#showTable("train", texts, { ...record, advantages }, this.#config.debug_log_n_samples);
    }
    if (this.#config.scatter_every > 0) {
      this.#scatter = addToScatter(this.#scatter, step, record, this.#config.scatter_max_points);
      if (due(this.#config.scatter_every)) await this.#showScatterWindow(step);
    }
    await this.settle();
    return row;
  }

  /**
   * Logs one evaluation and returns its row, which is logged last: where it stands, all of the evaluation does.
   * @throws what a record threw that could not take all of it: it is owed the rest
   */
  async logEval(record: EvalRecord, texts: Texts): Promise<MetricRow> {
    const { step } = record;
    const row = evalRow(record);
    await this.#showTable("eval", texts, record, this.#config.eval_table_n_samples);
    const points = addToScatter(EMPTY_SCATTER, step, record, this.#config.scatter_max_points);
    await this.#sinks.tell("scatter", "eval", scatterPoints(points, step));
    await this.#sinks.tell("evaluation", row);
    await this.settle();
    return row;
  }

  /**
   * Gives the records what they could not take before. No checkpoint may be taken where they still cannot: a run that
   * goes on from it would lack that.
   * @throws what a record threw
   */
  async settle(): Promise<void> {
    await this.#sinks.settle();
  }

  /** For the checkpoint taken after the last logged step. */
  state(): TrackerState {
    return { scatter: this.#scatter };
  }

  /**
   * Shows the scatter points that are still waiting. Call once, when training has reached its last step.
   * @throws what a record threw that could not take all of it
   */
  async finish(lastStep: number): Promise<void> {
    if (this.#scatter.seen > 0) await this.#showScatterWindow(lastStep);
    await this.#sinks.tell("finish");
    await this.settle();
  }

  /** For the end of a run and for its failure alike. */
  async close(): Promise<void> {
    await this.#sinks.tell("close");
  }

  async #showTable(
    split: Split,
    texts: Texts,
    record: Judgements & CompletionFacts & { step: number },
    count: number,
  ): Promise<void> {
    const samples = sampleTable(texts, record, count);
    const batch = sampleTable(texts, record, texts.completions.length);
    await this.#sinks.tell("table", { split, step: record.step, samples, batch });
  }

  async #showScatterWindow(step: number): Promise<void> {
    await this.#sinks.tell("scatter", "train", scatterPoints(this.#scatter, step));
    this.#scatter = EMPTY_SCATTER;
  }
}

function scatterPoints({ fromStep, seen, rewards, costs }: ScatterWindow, step: number): ScatterPoints {
  return { step, from_step: fromStep, total: seen, rewards, costs };
}
