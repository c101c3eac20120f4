/** W&B: the run as an offline run of its own client, which its programs upload. */
import { basename, join } from "node:path";
import { displayName } from "../display_name.ts";
import type { MetricRow } from "../metrics.ts";
import { SCATTER_TAGS, SCATTER_TITLES, TABLE_TAGS } from "../samples.ts";
import type { ScatterPoints, Split } from "../samples.ts";
import type { LoggedTable, RunFacts, Sink } from "../sink.ts";
import { trackedHistogram } from "../tracked_histogram.ts";
import { sampleRows, scatterPanel, wandbRow } from "./names.ts";
import { type OfflineRun, openOfflineRun } from "./offline_run.ts";
import type { Values } from "./records.ts";
import type { WandbSettings } from "./settings.ts";
import { type KnownRun, wandbServer } from "./server.ts";
import { systemMonitor } from "./system_metrics.ts";
import { startUpload, type Upload, type UploadDelays } from "./upload.ts";

/** As W&B's own client. */
const SYSTEM_EVERY_MS = 15_000;
/** How long a run that has ended waits for what is not uploaded yet. */
const LAST_UPLOAD_MS = 30_000;

/** Everything that is logged of a step becomes one row, which is written when the next one begins. */
class StepRows {
  #step = -1;
  #values: Values = {};
  readonly #run: OfflineRun;

  constructor(run: OfflineRun) {
    this.#run = run;
  }

  add(step: number, values: Values): void {
    if (step !== this.#step) this.flush();
    this.#step = step;
    this.#values = { ...this.#values, ...values };
  }

  flush(): void {
    if (Object.keys(this.#values).length > 0) this.#run.row(this.#step, this.#values);
    this.#values = {};
  }
}

/** Where a run is shown. */
function pageOf({ baseUrl }: WandbSettings, { entity, project }: KnownRun, id: string): string {
  const place = [entity, project, "runs", id].map(encodeURIComponent).join("/");
  return `${baseUrl.replace("://api.wandb.ai", "://wandb.ai")}/${place}`;
}

/** @param delays of the upload; W&B's own unless given */
export function wandb(settings: WandbSettings, delays?: Partial<UploadDelays>): Sink {
  let run: OfflineRun | null = null;
  let rows: StepRows | null = null;
  let upload: Upload | null = null;
  let onMessage: RunFacts["onMessage"] = () => {};
  let timer: NodeJS.Timeout | undefined;
  let tellSystem = () => {};
  let hasFinished = false;
  const addRow = (row: MetricRow) => rows!.add(row.step, wandbRow(row));

  async function start(facts: RunFacts): Promise<void> {
    const { runDir, config, firstStep, rowsBefore, gpuBytes, now } = facts;
    run = await openOfflineRun({
      runDir,
      wandbDir: join(settings.dir ?? runDir, "wandb"),
      id: settings.runId,
      firstStep,
      about: {
        entity: settings.entity ?? config.entity as string | null ?? "",
        project: settings.project ?? config.project as string,
        displayName: settings.name ?? displayName(facts),
        // The runs of a sweep, also those of a job array, lie in one folder.
        group: settings.group ?? basename(config.output_dir as string),
        tags: settings.tags,
        config: { _wandb: { t: {} }, ...config },
      },
      now,
    });
    for (const split of ["train", "eval"] as const) {
      const key = SCATTER_TAGS[split];
      const value = scatterPanel(`${key}_table`, "cost", "reward", SCATTER_TITLES[split]);
      run.append({ kind: "config", path: ["_wandb", "visualize", key], value });
    }
    rows = new StepRows(run);
    // What a kill took of the last row before the checkpoint, or all where W&B is new to the run.
    for (const row of rowsBefore) {
      if (row.step > run.lastStep) addRow(row);
    }
    const measure = systemMonitor(gpuBytes);
    tellSystem = () => run?.append({ kind: "system", atSeconds: now(), values: measure() });
    timer = setInterval(tellSystem, SYSTEM_EVERY_MS);
    timer.unref();
    onMessage = facts.onMessage;
    if (settings.mode === "online") beginUpload(run);
  }

  function beginUpload({ run: about, folder, file, rowCount }: OfflineRun): void {
    upload = startUpload({
      server: wandbServer(settings, settings.apiKey!),
      folder,
      file,
      run: about,
      rowCount,
      onKnown: (known) => onMessage(`W&B shows this run at ${pageOf(settings, known, about.id)}`),
      onMessage,
      delays,
    });
  }

  async function table({ split, step, samples, batch }: LoggedTable): Promise<void> {
    // As the reference run: all that was trained on, and of an evaluation as many as are asked for.
    const isTrain = split === "train";
    const { columns, data } = sampleRows(isTrain ? batch : samples);
    const key = TABLE_TAGS[split];
    const size = isTrain ? { "debug/batch_size": batch.length } : {};
    rows!.add(step, { [key]: await run!.table(key, step, columns, data), ...size });
  }

  async function scatter(split: Split, { step, rewards, costs }: ScatterPoints): Promise<void> {
    const key = `${SCATTER_TAGS[split]}_table`;
    const points = rewards.map((reward, i) => [reward, costs[i]]);
    rows!.add(step, { [key]: await run!.table(key, step, ["reward", "cost"], points) });
  }

  return {
    name: "W&B",
    isRecord: false,
    start,
    step: addRow,
    evaluation: addRow,
    histogram({ tag, step, values }) {
      const histogram = trackedHistogram("histogram", values);
      if (histogram) rows!.add(step, { [tag]: histogram });
    },
    table,
    scatter,
    finish: () => void (hasFinished = true),
    async close() {
      clearInterval(timer);
      if (run === null) return;
      rows?.flush();
      tellSystem(); // a run of seconds has these alone
      run.close(hasFinished ? 0 : 1);
      if (upload === null) {
        onMessage(`W&B has this run when it is uploaded: wandb beta sync "${run.folder}"`);
      } else if (!await upload.finish(LAST_UPLOAD_MS)) {
        onMessage(`W&B has not got all of this run; the rest: wandb beta sync "${run.folder}"`);
      }
    },
  };
}
