/**
 * Writes the parts of models/quickstart that need no training: the prompt files and the tokenizer of the
 * models. Deterministic: a second run writes the same bytes. Takes seconds.
 *
 *   node --import tsx scripts/quickstart/build_data.ts [folder]
 *   node --import tsx scripts/quickstart/build_data.ts --fresh 500 fresh.jsonl
 *
 * The second writes prompts that are in none of them, for an evaluation of more than the 64 held out.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { formatPrompt } from "../../src/rl/conversation.ts";
import { freshRequests, listRequests, policyRows, type Request, seededRandom, shuffle } from "./corpus.ts";
import { learnMerges, specialTokensMapJson, tokenizerConfigJson, tokenizerJson } from "./tokenizer.ts";

const VOCAB_SIZE = 1024;
/** Tokens of the longest conversation that the models are made for: max_position_embeddings of their config. */
const MAX_POSITIONS = 512;
const DATA_SEED = 20240;
const FRESH_SEED = 20241;

/** Writes train_prompts.jsonl, eval_prompts.jsonl and {policy,reward,cost,cost_tone}/tokenizer files into `folder`. */
function writeQuickstartData(folder: string): void {
  const requests = listRequests();
  const random = seededRandom(DATA_SEED);
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "train_prompts.jsonl"), promptLines(shuffle(random, requests.train)));
  writeFileSync(join(folder, "eval_prompts.jsonl"), promptLines(shuffle(random, requests.heldOut)));

  const texts = policyRows(DATA_SEED).map(({ prompt, response }) => formatPrompt(prompt) + response);
  const merges = learnMerges(texts, VOCAB_SIZE);
  for (const model of ["policy", "reward", "cost", "cost_tone"]) {
    const directory = join(folder, model);
    mkdirSync(directory, { recursive: true });
    writeJson(join(directory, "tokenizer.json"), tokenizerJson(merges));
    writeJson(join(directory, "tokenizer_config.json"), tokenizerConfigJson(MAX_POSITIONS));
    writeJson(join(directory, "special_tokens_map.json"), specialTokensMapJson());
  }
}

function promptLines(requests: readonly Request[]): string {
  return requests.map(({ prompt, topic }) => JSON.stringify({ prompt, topic: topic.name }) + "\n").join("");
}

function writeJson(path: string, value: object): void {
  writeFileSync(path, JSON.stringify(value, null, 1) + "\n");
}

/** @throws RangeError when there are fewer */
function writeFreshPrompts(count: number, path: string): void {
  const requests = shuffle(seededRandom(FRESH_SEED), freshRequests());
  if (!(Number.isInteger(count) && count > 0 && count <= requests.length)) {
    throw new RangeError(`--fresh must be from 1 to ${requests.length} prompts, got ${count}`);
  }
  writeFileSync(path, promptLines(requests.slice(0, count)));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values: { fresh }, positionals: [place] } = parseArgs({
    options: { fresh: { type: "string" } },
    allowPositionals: true,
  });
  if (fresh === undefined) {
    writeQuickstartData(place ?? fileURLToPath(new URL("../../models/quickstart", import.meta.url)));
  } else if (place === undefined) throw new RangeError("Give the file for the fresh prompts");
  else writeFreshPrompts(Number(fresh), place);
}
