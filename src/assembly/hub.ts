/** Names of models to folders: a folder as it is, else a hub id ("org/name", "org/name@revision"). */
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import type { RunConfig } from "../config/sweep.ts";
import { fetchModel, type HubSettings, lookUpModel } from "../io/hub/cache.ts";
import { type HubName, parseHubName, pinnedCommit } from "../io/hub/name.ts";
import { messageOf } from "../io/files/errors.ts";
import { isJsonObject } from "../io/files/json_object.ts";
import { ownFile } from "../io/files/own_files.ts";
import { isFolder, isThere } from "../io/files/presence.ts";
import { readText } from "../io/files/whole_file.ts";
import { modelHashes } from "../io/model/model_hashes.ts";
import { missingModel } from "../io/model/missing_model.ts";
import type { Scorer } from "../scorer/protocol.ts";
import { RUN_CONFIG_FILE } from "../tracking/run_records.ts";
import type { LoadingEvents } from "./events.ts";
import { type JudgesConfig, servesScoreModels } from "./judges.ts";

export interface ResolvedModel {
  /** A folder as it was given, or "org/name@commit". */
  name: string;
  dir: string;
}

const DEFAULT_ENDPOINT = "https://huggingface.co";

/**
 * @throws TypeError when HF_ENDPOINT is no http:// or https:// address, or holds a user or password, which it does not
 *   show
 */
function endpointOf({ HF_ENDPOINT }: Readonly<Record<string, string | undefined>>): string {
  const given = HF_ENDPOINT?.trim() || DEFAULT_ENDPOINT;
  const url = URL.canParse(given) ? new URL(given) : null;
  if (url?.username || url?.password) {
    throw new TypeError("HF_ENDPOINT holds a user or password, which a hub does not take: remove them");
  }
  if (url === null || !/^https?:$/.test(url.protocol)) {
    throw new TypeError(
      `HF_ENDPOINT is "${given}": required an address as ${DEFAULT_ENDPOINT}; correct or unset it`,
    );
  }
  return given.replace(/\/+$/, "");
}

/**
 * Settings from the environment variables of Python's huggingface_hub, and from its login.
 * @throws TypeError when HF_ENDPOINT is no address of a hub
 */
export async function hubSettings(env: Readonly<Record<string, string | undefined>>): Promise<HubSettings> {
  const home = env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface");
  const savedToken = () =>
    readText(env.HF_TOKEN_PATH || join(home, "token"), "read the token of").catch(() => "");
  return {
    endpoint: endpointOf(env),
    cacheDir: env.HF_HUB_CACHE || join(home, "hub"),
    token: (env.HF_TOKEN || await savedToken()).trim() || undefined,
    offline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE ?? ""),
  };
}

/**
 * The folder of a model, downloaded if it is a hub id that the cache does not hold.
 * @throws Error when there is neither such a folder nor such a model on the hub; a name that looks like a path is not
 * waited for
 */
export async function resolveModel(name: string, events: LoadingEvents = {}): Promise<ResolvedModel> {
  const hubName = await hubNameOf(name);
  if (hubName === undefined) return { name, dir: ownFile(name) };
  const settings = await hubSettings(process.env);
  await refuseMissingFolder(name, hubName, settings);
  const watcher = events.onBytes?.("downloading");
  try {
    const { id, commit, dir } = await fetchModel(hubName, settings, watcher?.update);
    return { name: `${id}@${commit}`, dir };
  } finally {
    watcher?.close();
  }
}

/** As resolveModel, but downloads nothing: no folder where the model is on the hub alone. */
export async function lookUpName(name: string): Promise<{ name: string; dir: string | undefined }> {
  const hubName = await hubNameOf(name);
  if (hubName === undefined) return { name, dir: ownFile(name) };
  const settings = await hubSettings(process.env);
  await refuseMissingFolder(name, hubName, settings);
  const { commit, dir } = await lookUpModel(hubName, settings);
  return { name: `${hubName.id}@${commit}`, dir };
}

/**
 * A folder of that name wins over the hub.
 * @throws Error when it is neither a folder nor a hub id
 */
async function hubNameOf(name: string): Promise<HubName | undefined> {
  if (await isFolder(ownFile(name))) return undefined;
  const hubName = parseHubName(name);
  if (hubName === undefined || await isThere(name)) {
    throw await missingModel(name);
  }
  return hubName;
}

/**
 * Looks whether models can be there, without a network.
 * @throws Error when one is neither a folder nor a hub id
 */
export async function assertModelNames(names: readonly string[]): Promise<void> {
  for (const name of names) await hubNameOf(name);
}

/** For an answer that tells a mistyped path from a hub id. */
const QUICK = { maxRetries: 0, idleTimeoutMs: 1500 };

/**
 * "models/alpaca-7b" may be a hub id, but beside a folder "models" it is most likely a path: the hub is asked once.
 * @throws Error when it does not have the model, or does not answer
 */
async function refuseMissingFolder(name: string, hubName: HubName, settings: HubSettings): Promise<void> {
  const parent = dirname(name);
  if (!await isFolder(parent)) return;
  await lookUpModel(hubName, { ...settings, ...QUICK }).catch((cause) => {
    throw new Error(
      `Cannot load a model from '${name}': there is no folder of that name in '${parent}'; correct the path. ` +
        `As a model of a hub: ${messageOf(cause)}`,
      { cause },
    );
  });
}

type ModelKey = "model_name" | "reward_model" | "cost_model";

/** The settings that name the models of a run; entries of `costs` may name more. */
function modelKeys(
  config: JudgesConfig & Pick<RunConfig, "costs">,
  scorer?: Scorer,
): ModelKey[] {
  if (!servesScoreModels(config, scorer)) return ["model_name"];
  const isUsed = config.costs?.some(({ model }) => model === undefined) ?? true;
  return ["model_name", "reward_model", ...(isUsed ? ["cost_model" as const] : [])];
}

/** Where settings name a model. */
export interface ModelPlace {
  name: string;
  /** The settings with another name there. */
  with(config: RunConfig, name: string): RunConfig;
}

/** Every model of a run, the policy first. */
export function modelPlaces(config: Omit<RunConfig, "beta">): ModelPlace[] {
  const ofKeys = modelKeys(config).map((key): ModelPlace => ({
    name: config[key],
    with: (settings, name) => ({ ...settings, [key]: name }),
  }));
  const costs = servesScoreModels(config) ? config.costs ?? [] : [];
  const ofCosts = costs.flatMap(({ model }, i): ModelPlace[] =>
    model === undefined ? [] : [{
      name: model,
      with: (settings, name) => ({
        ...settings,
        costs: settings.costs!.map((entry, k) => k === i ? { ...entry, model: name } : entry),
      }),
    }]
  );
  return [...ofKeys, ...ofCosts];
}

/** @param scorer from outside: then there are no score models to pin */
export type ModelPins = (config: RunConfig, runDir: string, scorer?: Scorer) => Promise<RunConfig>;

/**
 * Pins the models of runs. A hub id without a revision keeps the commit of the run that it resumes; else it
 * stands for what the hub says when it is first met, for all runs of a sweep.
 */
export function modelPins(resolve: (name: string) => Promise<{ name: string }> = resolveModel): ModelPins {
  const met = new Map<string, string>();
  return async (config, runDir, scorer) => {
    const saved = config.resume ? await savedConfig(runDir) : {};
    const pinned: Partial<Record<ModelKey, string>> = {};
    const pin = async (given: string, before: unknown) => {
      const name = await resumedName(given, before);
      if (!met.has(name)) met.set(name, (await resolve(name)).name);
      return met.get(name)!;
    };
    for (const key of modelKeys(config, scorer)) pinned[key] = await pin(config[key], saved[key]);
    if (config.costs === null || !servesScoreModels(config, scorer)) {
      return Object.freeze({ ...config, ...pinned });
    }
    const costs: (typeof config.costs)[number][] = [];
    for (const [i, entry] of config.costs.entries()) {
      const before: unknown = Array.isArray(saved.costs) ? saved.costs[i]?.model : undefined;
      costs.push(entry.model === undefined ? entry : { ...entry, model: await pin(entry.model, before) });
    }
    return Object.freeze({ ...config, ...pinned, costs });
  };
}

/** Hashes of the files of the score models that a run serves, by setting and name; none where it serves none. */
export async function scoreModelHashes(config: RunConfig, scorer?: Scorer): Promise<Record<string, string>> {
  const hashes: Record<string, string> = {};
  const add = async (key: string, model: string) => {
    const { dir } = await resolveModel(model);
    const ofModel = await modelHashes(dir, null, [join(dir, "tokenizer.json")]);
    for (const [name, hash] of Object.entries(ofModel)) hashes[`${key}/${name}`] = hash;
  };
  for (const key of modelKeys(config, scorer)) {
    if (key !== "model_name") await add(key, config[key]);
  }
  for (const { name, model } of servesScoreModels(config, scorer) ? config.costs ?? [] : []) {
    if (model !== undefined) await add(`costs/${name}`, model);
  }
  return hashes;
}

/** The settings a run was started with; none when there is no run. */
async function savedConfig(runDir: string): Promise<Partial<Record<ModelKey | "costs", unknown>>> {
  try {
    const saved: unknown = JSON.parse(await readText(join(runDir, RUN_CONFIG_FILE), "read"));
    return isJsonObject(saved) ? saved : {};
  } catch {
    return {}; // The file is a record for people; a run is resumed from its checkpoint.
  }
}

async function resumedName(name: string, saved: unknown): Promise<string> {
  const hubName = await isFolder(ownFile(name)) ? undefined : parseHubName(name);
  if (hubName === undefined || typeof saved !== "string") return name;
  const commit = pinnedCommit(hubName, saved);
  return commit === undefined ? name : `${hubName.id}@${commit}`;
}
