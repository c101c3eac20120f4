/**
 * A place that a run's measurements go to, as a file, TensorBoard or a service. What one cannot show it leaves out.
 *
 * Training waits for each call: a sink that talks to a network queues, throws at its next call what went wrong, and
 * waits in `close`. `start` is the first call and `close` the last, also for a sink whose `start` failed. To add one:
 * its file, and a line in sinks.ts.
 */
import type { MetricRow } from "./metrics.ts";
import type { StepRollouts } from "./rollout_records.ts";
import type { Sample, SampleTable, ScatterPoints, Split } from "./samples.ts";

/** What a sink knows of the run before its first row. */
export interface RunFacts {
  /** For files of its own, as the name under which a service knows the run: a run that goes on finds them again. */
  runDir: string;
  /** The resolved config by its keys, `project`, `entity` and `run_name` among them. */
  config: Readonly<Record<string, unknown>>;
  /** 0 in a new run; in one that goes on, the step after its checkpoint: from there on, rows may come again. */
  firstStep: number;
  /** Rows of metrics.jsonl before that step, one for each step. */
  rowsBefore: readonly MetricRow[];
  /** Prompts that are trained on. */
  promptCount: number;
  /** What the run holds of GPU memory now. */
  gpuBytes(): number;
  /** For what its user should know, as where the run is shown. */
  onMessage(text: string): void;
  /** Wall clock, seconds since 1970. */
  now(): number;
}

/** Some values of one step, of which the distribution is shown. A value may be NaN. */
export interface Histogram {
  tag: string;
  step: number;
  values: readonly number[];
}

/** A table as it is logged. */
export interface LoggedTable extends SampleTable {
  /** Every completion of the step, of which the table's samples are some. */
  batch: readonly Sample[];
}

export interface Sink {
  /** As a message calls it. */
  readonly name: string;
  /**
   * Whether the run may not go on without it: it is the run's own record, which a resume and the report go by. Any
   * other is a copy: where it fails, that is said once, and the run goes on without it. A record may be told again what
   * it threw at.
   */
  readonly isRecord: boolean;
  start?(run: RunFacts): void | Promise<void>;
  /** One generation batch. */
  step?(row: MetricRow): void | Promise<void>;
  /** One evaluation; its step has been logged already, as have its table and plot. */
  evaluation?(row: MetricRow): void | Promise<void>;
  histogram?(histogram: Histogram): void | Promise<void>;
  /** All completions of one generation batch, where they are kept. */
  completions?(completions: StepRollouts): void | Promise<void>;
  table?(table: LoggedTable): void | Promise<void>;
  scatter?(split: Split, points: ScatterPoints): void | Promise<void>;
  /** Training has reached its last step, and all has been logged. */
  finish?(): void | Promise<void>;
  /** After `finish`, or without it where the run was stopped or failed. */
  close?(): void | Promise<void>;
}

/** The calls of a sink. */
export type SinkCall = Exclude<keyof Sink, "name" | "isRecord">;
