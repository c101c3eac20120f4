/** Tries out, for `doctor`, what training with a config reads, writes and talks to. Changes nothing. */
import { access, constants } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { endsText } from "../../assembly/ends.ts";
import { lookUpName } from "../../assembly/hub.ts";
import { openFunctionScorer, servesScoreModels } from "../../assembly/judges.ts";
import { endsOf } from "../../assembly/models.ts";
import { isPromptSetHere, promptFiles } from "../../assembly/prompts.ts";
import { commandLine } from "../../config/command_line.ts";
import type { Config } from "../../config/schema.ts";
import { explainFsError, messageOf, systemCode } from "../../io/files/errors.ts";
import { type ModelFolder, openModelFolder } from "../../io/model/model_folder.ts";
import { readPrompts } from "../../io/prompts/prompts.ts";
import { loadTokenizer, type Tokenizer } from "../../io/tokenizer/tokenizer.ts";
import { parseModelConfig } from "../../policy/model_config.ts";
import { parseScoreConfig, type ScoreType } from "../../policy/score_config.ts";
import { createScorerClient } from "../../scorer/client.ts";
import { resolveScorerUrl } from "../../scorer/url.ts";
import type { Requirement } from "./diagnosis.ts";

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
 */
export async function probeRequirements(
  config: Config,
  probeService: (config: Config) => Promise<Requirement[]> = probeScorer,
): Promise<Requirement[]> {
  const requirements = [
    await probePolicy(config),
    await probePrompts("train_jsonl", config.train_jsonl, config),
  ];
  if (config.eval_jsonl !== null) {
    requirements.push(await probePrompts("eval_jsonl", config.eval_jsonl, config));
  }
  requirements.push(...await (config.scorer_url === null ? probeScorer : probeService)(config));
  requirements.push(await probeOutput(config.output_dir));
  return requirements;
}

function modelRemedy(key: string): string {
  return `set ${key} to a folder (or hub id) with config.json, weights and tokenizer; doctor --model NAME says what ` +
    "of a model is supported";
}

/** Opens a model's folder and tokenizer; the weights' headers are read, the weights are not. */
async function describeModel(
  wanted: string,
  check: (configText: string, configPath: string) => string,
  more: (model: ModelFolder, tokenizer: Tokenizer) => Promise<string> = () => Promise.resolve(""),
): Promise<string> {
  const { name, dir } = await lookUpName(wanted);
  if (dir === undefined) return `${name}: on the hub; the first run downloads it`;
  const folder = await openModelFolder(dir, { accept: check });
  try {
    const shape = check(folder.configText, folder.configPath);
    const tokenizer = await loadTokenizer(dir);
    return `${name}: ${shape}, ${tokenizer.vocabSize} tokens known${await more(folder, tokenizer)}`;
  } finally {
    await folder.close();
  }
}

function probePolicy({ model_name, eos_token_ids }: Config): Promise<Requirement> {
  const check = (text: string, path: string) => {
    const { layers, hiddenSize } = parseModelConfig(text, path);
    return `${layers} layers of width ${hiddenSize}`;
  };
  const ends = async ({ dir, configText, configPath }: ModelFolder, tokenizer: Tokenizer) => {
    const config = parseModelConfig(configText, configPath);
    const found = await endsOf(dir, config, { tokenizer, eosTokenIds: eos_token_ids });
    return `, completions end at ${endsText(found)}`;
  };
  return tryOut("model_name", modelRemedy("model_name"), () => describeModel(model_name, check, ends));
}

function probeScoreModel(type: ScoreType, name: string): Promise<Requirement> {
  const key = `${type}_model`;
  const remedy = `${modelRemedy(key)} with a score head, or set scorer_url to a scorer service`;
  return tryOut(key, remedy, () =>
    describeModel(name, (text, path) => {
      const { model, type: found } = parseScoreConfig(text, path);
      if (found !== null && found !== type) {
        throw new TypeError(
          `${path}: score_type is "${found}", need "${type}"; are reward_model and cost_model swapped?`,
        );
      }
      const kind = found === null ? "a classifier" : `score_type "${found}"`;
      return `${model.layers} layers of width ${model.hiddenSize}, ${kind}`;
    }));
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
  const { scorer_url, cost_scorer_url, reward_model, cost_model } = config;
  if (servesScoreModels(config)) {
    return [
      {
        subject: "scorer_url",
        outcome: { detail: "null: reward_model and cost_model are served in this process" },
      },
      await probeScoreModel("reward", reward_model),
      await probeScoreModel("cost", cost_model),
    ];
  }
  const functions = await probeFunctions(config);
  if (scorer_url === null) return functions;
  const help = commandLine(process.env, "scorer", "--help");
  const remedy = `start the scorer ("${help}"), or set scorer_url to where it runs, ` +
    "or to null to serve it in this process";
  const probe = (key: string, address: string) =>
    tryOut(key, remedy, async () => {
      const url = await resolveScorerUrl(address, { timeoutMs: 0 });
      if (config.scorer_api === "openrlhf") {
        return `${url}: an openrlhf service has no health to be asked for`;
      }
      const options = { url, api: config.scorer_api, timeoutMs: HEALTH_TIMEOUT_MS, maxRetries: 0 };
      const { device } = await createScorerClient(options).checkHealth();
      return `${url}: healthy, on ${device}`;
    });
  const scorer = await probe("scorer_url", scorer_url);
  const costs = cost_scorer_url === null ? [] : [await probe("cost_scorer_url", cost_scorer_url)];
  return [...functions, scorer, ...costs];
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
