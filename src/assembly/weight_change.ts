/** Measures how far a run moved the weights, from the files that it began with and ended in, some rows at a time. */
import { join } from "node:path";
import { parsedObject } from "../config/parsed_json.ts";
import { writeFileAtomic } from "../io/files/atomic_files.ts";
import { isThere } from "../io/files/presence.ts";
import { readText } from "../io/files/whole_file.ts";
import { type AdapterFolder, openAdapterFolder } from "../io/model/adapter_folder.ts";
import { type ModelFolder, openModelFolder, type TensorValues } from "../io/model/model_folder.ts";
import { adapterScale, parseAdapterConfig } from "../policy/adapter_config.ts";
import { adapterTensorNames } from "../policy/adapters.ts";
import type { Layout } from "../policy/families/layout.ts";
import { parseModelConfig } from "../policy/model_config.ts";
import { isEmbeddingHead, isUnused } from "../policy/weights.ts";
import { RUN_CONFIG_FILE } from "../tracking/run_records.ts";
import {
  type ChangedTensor,
  type ModelPart,
  WEIGHT_CHANGE_FILE,
  type WeightChange,
} from "../tracking/weight_change.ts";
import type { LoadingEvents } from "./events.ts";
import { withModel } from "./models.ts";
import { type LowRank, lowRankSquare, squaredChange } from "./weight_norms.ts";

/** What is held of each of two tensors at a time. */
const PIECE_VALUES = 2 ** 22;

/** What a run begins with. */
export interface StartingModel {
  name: string;
  /** Of whole weights; those under an adapter. */
  dir: string;
  /** Of the adapter over them, which the run trained on; null for none. */
  adapterDir: string | null;
}

/**
 * Measures it by the settings of a finished run, and writes weight_change.json.
 * @throws Error when the run has not ended, or a file of either model, which it names, is missing or broken
 */
export async function measureRun(runDir: string, events: LoadingEvents = {}): Promise<void> {
  const path = join(runDir, RUN_CONFIG_FILE);
  const { model_name: name } = parsedObject(await readText(path, "read"), path, "give the folder of a run");
  if (typeof name !== "string") {
    throw new TypeError(`${path}: required the text model_name, found none; give the folder of a run`);
  }
  await withModel(name, async ({ base, adapterFolder }) => {
    const start = { name: base.name, dir: base.dir, adapterDir: adapterFolder?.dir ?? null };
    await writeWeightChange(runDir, start, events);
  }, events);
}

/**
 * Measures how far the final weights in `runDir` are from the start, and writes weight_change.json there. It reads both
 * models once; rows of two tensors are in memory at a time.
 * @throws Error when there are no final weights, or a file of either model, which it names, is missing or broken
 */
export async function writeWeightChange(
  runDir: string,
  start: StartingModel,
  events: LoadingEvents = {},
): Promise<void> {
  const adapter = await openAdapterFolder(runDir);
  let measured: WeightChange;
  try {
    measured = adapter
      ? await adapterChange(adapter, start, events)
      : await wholeChange(runDir, start, events);
  } finally {
    await adapter?.close();
  }
  await writeFileAtomic(join(runDir, WEIGHT_CHANGE_FILE), `${JSON.stringify(measured)}\n`);
}

/** A model's folder, and which part of the model a tensor of it is. */
interface Opened extends ModelFolder {
  layout: Layout;
  tied: boolean;
  /** Under which name the file holds a tensor: a tied matrix may be there as the head alone. */
  storedName(name: string): string;
}

async function opened(dir: string, onBytes?: (count: number) => void): Promise<Opened> {
  const folder = await openModelFolder(dir, { onBytes });
  const config = parseModelConfig(folder.configText, folder.configPath);
  const { layout, tiedEmbeddings: tied } = config;
  const isAlone = isEmbeddingHead(folder.source, config);
  const storedName = (name: string) => isAlone && name === layout.embedding ? layout.head : name;
  return { ...folder, layout, tied, storedName };
}

/** A tied matrix is one tensor, also where a file repeats it. */
function tensorsOf({ source, layout, tied }: Opened): string[] {
  const names = [...source.names()].filter((name) => !isUnused(name));
  return [...new Set(names.map((name) => tied && name === layout.head ? layout.embedding : name))];
}

function placeOf(name: string, { embedding, head }: Layout) {
  const layer = /\.layers\.(\d+)\./.exec(name)?.[1];
  const part: ModelPart = name === embedding
    ? "embedding"
    : name === head
    ? "unembedding"
    : /norm/.test(name)
    ? "norm"
    : /\.mlp\./.test(name)
    ? "mlp"
    : "attention";
  return { name, part, layer: layer === undefined ? null : Number(layer) };
}

const sizeOf = (shape: readonly number[]) => shape.reduce((size, n) => size * n, 1);

/** Ranges of rows that pieces of a tensor are. */
function* rowsOf(shape: readonly number[]): Generator<[number, number]> {
  const perRow = Math.max(1, sizeOf(shape.slice(1)));
  const count = Math.max(1, Math.floor(PIECE_VALUES / perRow));
  for (let first = 0; first < shape[0]; first += count) yield [first, Math.min(shape[0], first + count)];
}

/** Tells of bytes that are read, of so many. */
function watched(id: string, totalOf: () => number, events: LoadingEvents) {
  const watcher = events.onBytes?.("comparing");
  let doneBytes = 0;
  const onBytes = (count: number) => {
    doneBytes += count;
    watcher?.update({ id, doneBytes, totalBytes: totalOf() });
  };
  return { onBytes, close: () => watcher?.close() };
}

async function wholeChange(
  runDir: string,
  start: StartingModel,
  events: LoadingEvents,
): Promise<WeightChange> {
  if (!await isThere(join(runDir, "config.json"))) {
    throw new Error(
      `Cannot measure the change of the weights of '${runDir}': required its final weights, found none; let the run ` +
        "come to its end",
    );
  }
  let totalBytes = 0;
  const watcher = watched(start.name, () => totalBytes, events);
  const before = await opened(start.dir, watcher.onBytes);
  try {
    const after = await opened(runDir, watcher.onBytes);
    try {
      totalBytes = before.source.totalBytes + after.source.totalBytes;
      const tensors: ChangedTensor[] = [];
      for (const name of tensorsOf(after)) {
        const [stored, storedBefore] = [after.storedName(name), before.storedName(name)];
        const shape = after.source.shapeOf(stored)!;
        assertSame(before.source, after.source, storedBefore, shape);
        const sum = { change: 0, start: 0 };
        for (const rows of rowsOf(shape)) {
          const [now, then] = [
            await after.source.read(stored, rows),
            await before.source.read(storedBefore, rows),
          ];
          const { change, start } = squaredChange(now, then);
          sum.change += change;
          sum.start += start;
        }
        tensors.push({
          ...placeOf(name, after.layout),
          parameters: sizeOf(shape),
          change: Math.sqrt(sum.change),
          start: Math.sqrt(sum.start),
        });
      }
      return { start: start.name, end: "model.safetensors", tied: after.tied, tensors };
    } finally {
      await after.close();
    }
  } finally {
    watcher.close();
    await before.close();
  }
}

function assertSame(before: TensorValues, after: TensorValues, name: string, shape: readonly number[]): void {
  const other = before.shapeOf(name);
  if (other?.length === shape.length && other.every((n, i) => n === shape[i])) return;
  throw new Error(
    `Cannot measure the change of "${name}": it is [${shape}] in ${after.path} and ` +
      `${other ? `[${other}]` : "missing"} in ${before.path}; is that the model that the run began with?`,
  );
}

async function adapterChange(
  adapter: AdapterFolder,
  start: StartingModel,
  events: LoadingEvents,
): Promise<WeightChange> {
  let totalBytes = 0;
  const watcher = watched(start.name, () => totalBytes, events);
  const base = await opened(start.dir, watcher.onBytes);
  const first = start.adapterDir === null ? null : await openAdapterFolder(start.adapterDir);
  try {
    totalBytes = base.source.totalBytes;
    const tensors: ChangedTensor[] = [];
    for (const name of tensorsOf(base)) {
      const stored = base.storedName(name);
      const shape = base.source.shapeOf(stored)!;
      let square = 0;
      for (const rows of rowsOf(shape)) {
        const values = await base.source.read(stored, rows);
        square += squaredChange(values, values).start;
      }
      const now = await termOf(adapter, name, 1);
      const then = first && await termOf(first, name, -1);
      tensors.push({
        ...placeOf(name, base.layout),
        parameters: sizeOf(shape),
        change: Math.sqrt(lowRankSquare([now, then].filter((term) => term !== null))),
        start: Math.sqrt(square),
      });
    }
    return { start: start.name, end: "adapter_model.safetensors", tied: base.tied, tensors };
  } finally {
    watcher.close();
    await first?.close();
    await base.close();
  }
}

/** What an adapter adds to a weight, with a sign; null where it does not adapt it. */
async function termOf({ source, configText, configPath }: AdapterFolder, weight: string, sign: 1 | -1) {
  const { a, b } = adapterTensorNames(weight.replace(/\.weight$/, ""));
  if (!source.shapeOf(a)) return null;
  const config = parseAdapterConfig(configText, configPath);
  const term: LowRank = {
    scale: sign * adapterScale(config),
    rank: config.rank,
    a: await source.read(a),
    b: await source.read(b),
  };
  return term;
}
