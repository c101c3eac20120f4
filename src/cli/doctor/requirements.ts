/** Tries out, for `doctor`, what training with a config reads, writes and talks to. Changes nothing. */
import { access, constants } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { baseModelOf } from "../../assembly/adapters.ts";
import { endsText } from "../../assembly/ends.ts";
import { lookUpName } from "../../assembly/hub.ts";
import { openFunctionScorer, servesScoreModels } from "../../assembly/judges.ts";
import { adapterNeedsPeft, endsOf, parsePolicyConfig } from "../../assembly/models.ts";
import { isPromptSetHere, promptFiles } from "../../assembly/prompts.ts";
import { type NamedScoreModel, scoreModelOf } from "../../assembly/score_models.ts";
import { constraintsOf } from "../../config/constraints.ts";
import { commandLine } from "../../config/command_line.ts";
import type { Config } from "../../config/schema.ts";
import { scorerAddresses } from "../../config/scorer_addresses.ts";
import { explainFsError, messageOf, systemCode } from "../../io/files/errors.ts";
import { openAdapterFolder } from "../../io/model/adapter_folder.ts";
import { type ModelFolder, openModelFolder } from "../../io/model/model_folder.ts";
import { readPrompts } from "../../io/prompts/prompts.ts";
import { loadTokenizer, type Tokenizer } from "../../io/tokenizer/tokenizer.ts";
import type { ModelConfig } from "../../policy/families/family.ts";
import { parseScoreConfig } from "../../policy/score_config.ts";
import { createScorerClient } from "../../scorer/client.ts";
import { scorerServices } from "../../scorer/services.ts";
import type { Requirement } from "./diagnosis.ts";
import { probeDisk } from "./disk_probe.ts";

const HEALTH_TIMEOUT_MS = 5000;

/** Runs `probe`; whatever it throws is the finding, which is what doctor is for. */
async function tryOut(subject: string, remedy: string, probe: () => Promise<string>): Promise<Requirement> {
  try {
    return { subject, outcome: { detail: await probe() } };
  } catch (error) {
    return { subject, outcome: { failure: messageOf(error), remedy } };
  }
}

/**
 * All that a run with this config needs besides the GPU, each tried out, in the order of a run.
 * @param probeService tries out a scorer that is not in this process; by default asks for its health
 * @param isTraining whether the policy is trained and not only evaluated, which any adapter can be
 */
export async function probeRequirements(
  config: Config,
  { probeService = probeScorer, isTraining = true }: {
    probeService?: (config: Config) => Promise<Requirement[]>;
    isTraining?: boolean;
  } = {},
): Promise<Requirement[]> {
  const requirements = [await probePolicy(config, config.use_peft || !isTraining)];
  if (isTraining) requirements.push(await probePrompts("train_jsonl", config.train_jsonl, config));
  if (config.eval_jsonl !== null) {
    requirements.push(await probePrompts("eval_jsonl", config.eval_jsonl, config));
  } else if (!isTraining) {
    const outcome = {
      failure: "there is nothing to evaluate, it is null",
      remedy: "set it to a file of prompts",
    };
    requirements.push({ subject: "eval_jsonl", outcome });
  }
  requirements.push(...await (config.scorer_url === null ? probeScorer : probeService)(config));
  if (isTraining) requirements.push(await probeOutput(config.output_dir), await probeDisk(config));
  return requirements;
}

function modelRemedy(key: string): string {
  return `set ${key} to a folder (or hub id) with config.json, weights and tokenizer; doctor --model NAME says what ` +
    "of a model is supported";
}

/** How a kind of model is read: its config.json before its weights are looked for, then the whole folder. */
interface ModelKind {
  parse: (configText: string, configPath: string) => ModelConfig;
  describe: (model: ModelFolder, tokenizer: Tokenizer) => string | Promise<string>;
}

/**
 * Opens a model's folder and tokenizer; the weights' headers are read, the weights are not.
 * @param tokenizerDir the tokenizer's, where it is not the model's
 */
async function describeModel(wanted: string, { parse, describe }: ModelKind, tokenizerDir?: string) {
  const { name, dir } = await lookUpName(wanted);
  if (dir === undefined) return `${name}: on the hub; the first run downloads it`;
  const folder = await openModelFolder(dir, { accept: parse });
  try {
    const { layers, hiddenSize } = parse(folder.configText, folder.configPath);
    const tokenizer = await loadTokenizer(tokenizerDir ?? dir);
    const known = `${tokenizer.vocabSize} tokens known, ${await describe(folder, tokenizer)}`;
    return `${name}: ${layers} layers of width ${hiddenSize}, ${known}`;
  } finally {
    await folder.close();
  }
}

function probePolicy({ model_name, eos_token_ids }: Config, takesAdapter: boolean): Promise<Requirement> {
  const kind: ModelKind = {
    parse: parsePolicyConfig,
    async describe({ dir, configText, configPath }, tokenizer) {
      const config = parsePolicyConfig(configText, configPath);
      const found = await endsOf(dir, config, { tokenizer, eosTokenIds: eos_token_ids });
      return `completions end at ${endsText(found)}`;
    },
  };
  return tryOut("model_name", modelRemedy("model_name"), async () => {
    const adapter = await openAdapterFolder(model_name);
    if (!adapter) return await describeModel(model_name, kind);
    try {
      if (!takesAdapter) throw adapterNeedsPeft(model_name);
      const base = await describeModel(
        await baseModelOf(adapter),
        kind,
        adapter.hasTokenizer ? model_name : undefined,
      );
      return `${model_name}: an adapter on ${base}`;
    } finally {
      await adapter.close();
    }
  });
}

/** The head and the label are asked for as a run does, of the weights' headers. */
function probeScoreModel(wanted: NamedScoreModel): Promise<Requirement> {
  const key = wanted.cost ? `costs, model of ${wanted.cost}` : `${wanted.type}_model`;
  const remedy = `${modelRemedy(key)} with a score head, or set scorer_url to a scorer service`;
  const kind: ModelKind = {
    parse: (text, path) => parseScoreConfig(text, path).model,
    describe(folder) {
      const { config, label, isClassifier } = scoreModelOf(folder, wanted);
      if (!isClassifier) return `score_type "${config.type}"`;
      return `a classifier, whose label ${label} "${
        config.labels?.[label] ?? `LABEL_${label}`
      }" is the ${wanted.type}`;
    },
  };
  return tryOut(key, remedy, () => describeModel(wanted.name, kind));
}

/** Reads every row, as training would. */
function probePrompts(
  key: string,
  path: string,
  { prompt_key, max_samples, skip_bad_rows }: Config,
): Promise<Requirement> {
  const maxSamples = key === "train_jsonl" ? max_samples ?? undefined : undefined;
  return tryOut(key, `set ${key} to a file with one {"${prompt_key}": "..."} per line`, async () => {
    if (!await isPromptSetHere(path)) return `${path}: on the hub; the first run downloads it`;
    let skipped = 0;
    const onBadRow = skip_bad_rows ? () => void skipped++ : undefined;
    const rows = await readPrompts(await promptFiles(path), { promptKey: prompt_key, maxSamples, onBadRow });
    const count = rows.length === 1 ? "1 prompt" : `${rows.length} prompts`;
    return `${path}: ${count}${skipped === 0 ? "" : `, ${skipped} bad rows skipped`}`;
  });
}

async function probeScorer(config: Config): Promise<Requirement[]> {
  const { scorer_url, cost_scorer_url, reward_model } = config;
  if (servesScoreModels(config)) {
    return [
      {
        subject: "scorer_url",
        outcome: { detail: "null: reward_model and cost_model are served in this process" },
      },
      await probeScoreModel({ type: "reward", name: reward_model, label: config.reward_label }),
      ...await Promise.all(
        constraintsOf(config).map(({ name: cost, model: name, label }) =>
          probeScoreModel({ type: "cost", name, label, cost })
        ),
      ),
    ];
  }
  const functions = await probeFunctions(config);
  if (scorer_url === null) return functions;
  const help = commandLine(process.env, "scorer", "--help");
  const remedy = `start the scorer ("${help}"), or set scorer_url to where it runs, ` +
    "or to null to serve it in this process";
  const probe = (key: string, address: string) =>
    tryOut(key, remedy, async () => {
      const tokenFile = config.scorer_token_file ?? undefined;
      const services = await scorerServices(address, { tokenFile }).wait({ timeoutMs: 0 });
      const urls = services.map(({ url }) => url).join(", ");
      if (config.scorer_api === "openrlhf") {
        return `${urls}: an openrlhf service has no health to be asked for`;
      }
      const options = {
        // With its file, as a token may lie beside that.
        url: address,
        api: config.scorer_api,
        tokenFile,
        timeoutMs: HEALTH_TIMEOUT_MS,
        retryMaxMs: 0,
      };
      const { device } = await createScorerClient(options).checkHealth();
      return `${urls}: healthy, on ${device}`;
    });
  const probeAll = (key: string, addresses: string | null) =>
    Promise.all(addresses === null ? [] : scorerAddresses(addresses).map((address) => probe(key, address)));
  const scorers = await probeAll("scorer_url", scorer_url);
  return [...functions, ...scorers, ...await probeAll("cost_scorer_url", cost_scorer_url)];
}

/** Loads the functions of the settings, as training would. */
async function probeFunctions(config: Config): Promise<Requirement[]> {
  const names = [...config.reward_functions, ...config.cost_functions];
  if (names.length === 0) return [];
  const remedy = "set reward_functions and cost_functions to FILE#EXPORT of modules that run";
  return [
    await tryOut("functions", remedy, async () => {
      await openFunctionScorer(config);
      return names.join(", ");
    }),
  ];
}

/** Asks for permission only: doctor makes no folder. */
function probeOutput(dir: string): Promise<Requirement> {
  return tryOut("output_dir", "set output_dir to a folder you may write to", async () => {
    const existing = await nearestExisting(resolve(dir));
    await access(existing, constants.W_OK).catch((error) => {
      throw explainFsError(error, "write into the folder", existing);
    });
    return existing === resolve(dir) ? `${dir}: writable` : `${dir}: will be made`;
  });
}

async function nearestExisting(path: string): Promise<string> {
  try {
    await access(path);
    return path;
  } catch (error) {
    if (systemCode(error) !== "ENOENT" || dirname(path) === path) {
      throw explainFsError(error, "look at", path);
    }
    return await nearestExisting(dirname(path));
  }
}
