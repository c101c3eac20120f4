/** Where the measurements of a run go. */
import process from "node:process";
import type { Reporter, ReportTo } from "../config/reporters.ts";
import type { MetricRow } from "./metrics.ts";
import { rolloutsFolder } from "./rollouts_folder.ts";
import { samplesFolder, type WriteText } from "./samples_folder.ts";
import type { Sink } from "./sink.ts";
import { tensorBoard } from "./tensorboard.ts";
import { trackio } from "./trackio.ts";
import { knowsWandb, wandbSettings } from "./wandb/settings.ts";
import { wandb } from "./wandb/sink.ts";

/** For other programs to read; null where the environment wants none. */
const COPIES: Readonly<Record<Reporter, () => Sink | null>> = {
  tensorboard: tensorBoard,
  trackio: () => trackio(),
  wandb() {
    const settings = wandbSettings(process.env);
    return settings.mode === "disabled" ? null : wandb(settings);
  },
};

/** Which copies `report_to` asks for. */
function reportersOf(reportTo: ReportTo): readonly Reporter[] {
  if (reportTo === "none") return [];
  if (reportTo !== "auto") return reportTo;
  return knowsWandb(process.env) ? ["tensorboard", "wandb"] : ["tensorboard"];
}

/**
 * Asks whether the copies can be made, before anything is loaded for the run.
 * @throws RangeError when environment variables of W&B or trackio are missing, or none that these know
 */
export function assertReporters(reportTo: ReportTo): void {
  for (const name of reportersOf(reportTo)) COPIES[name]();
}

/**
 * @param appendRow appends a row to metrics.jsonl
 * @param writeText writes a file, with the folder that it lies in, whole or not at all
 * @throws RangeError when environment variables of W&B or trackio are missing, or none that these know
 */
export function sinksOf(
  appendRow: (row: MetricRow) => void,
  writeText: WriteText,
  reportTo: ReportTo = "auto",
): Sink[] {
  const log: Sink = { name: "metrics.jsonl", isRecord: true, step: appendRow, evaluation: appendRow };
  const copies = reportersOf(reportTo).map((name) => COPIES[name]()).filter((sink) => sink !== null);
  return [log, samplesFolder(writeText), rolloutsFolder(writeText), ...copies];
}
