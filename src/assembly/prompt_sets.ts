/** Prompt sets made of published data: prompts of PKU-SafeRLHF, some to train on and others to evaluate. */
import { join } from "node:path";
import { makeFolders, writeFileAtomic } from "../io/files/atomic_files.ts";
import { readText } from "../io/files/whole_file.ts";
import { isDatasetName } from "../io/hub/dataset_files.ts";
import { readPrompts } from "../io/prompts/prompts.ts";
import { shuffledOrder, STREAM } from "../rl/rng.ts";
import type { LoadingEvents } from "./events.ts";
import { promptFiles } from "./prompts.ts";

export const PKU_DATASET = "hf:PKU-Alignment/PKU-SafeRLHF";
const PROMPT_KEY = "prompt";
const PARTS = ["train", "eval"] as const;

export interface PromptSetRequest {
  /** A file, of which both parts are drawn, or a data set on the hub, whose splits train and test they are of. */
  from: string;
  /** How many prompts. */
  train: number;
  eval: number;
  seed: number;
  /** Gets train.jsonl, eval.jsonl and README.md. */
  output: string;
}

/** The paths that were written. */
export type PromptSet = Record<(typeof PARTS)[number], string>;

/**
 * Draws different prompts, the same for the same seed and data, and writes them alone, one to a row.
 * @throws RangeError when there are fewer different prompts than are asked for
 * @throws Error when the data cannot be read, or other files are in the way
 */
export async function makePkuPrompts(
  request: PromptSetRequest,
  events: LoadingEvents = {},
): Promise<PromptSet> {
  const { from, output } = request;
  const sources = isDatasetName(from) ? [`${from}/train`, `${from}/test`] : [from];
  const found: string[][] = [];
  for (const source of sources) found.push(await differentPrompts(await promptFiles(source, events)));
  const train = drawn(found[0], request.train, request.seed, sources[0]);
  const taken = new Set(train);
  const rest = found[found.length - 1].filter((prompt) => !taken.has(prompt));
  const evaluation = drawn(rest, request.eval, request.seed, sources[sources.length - 1]);
  const set = { train: join(output, "train.jsonl"), eval: join(output, "eval.jsonl") };
  await makeFolders(output);
  const files = new Map([
    [set.train, rowsText(train)],
    [set.eval, rowsText(evaluation)],
    [join(output, "README.md"), readmeText(request)],
  ]);
  for (const [path, text] of files) await assertFree(path, text);
  for (const [path, text] of files) await writeFileAtomic(path, text);
  return set;
}

/** The prompts without white space around them, each once, in the order of the files. */
async function differentPrompts(files: readonly string[]): Promise<string[]> {
  const rows = await readPrompts(files, { promptKey: PROMPT_KEY });
  const texts = rows.map(({ prompt, place }) => {
    if (typeof prompt === "string") return prompt.trim();
    throw new TypeError(
      `Cannot draw prompts from ${place}: required a text, got messages; take another file`,
    );
  });
  return [...new Set(texts)];
}

/** `count` of them by the seed's shuffle, in its order. */
function drawn(prompts: readonly string[], count: number, seed: number, source: string): string[] {
  if (prompts.length < count) {
    throw new RangeError(
      `Cannot draw ${count} prompts from ${source}: it has ${prompts.length} that are different and not drawn yet; ` +
        "ask for fewer",
    );
  }
  const order = shuffledOrder(prompts.length, seed, 0, STREAM.shuffle);
  return Array.from(order.subarray(0, count), (place) => prompts[place]);
}

const rowsText = (prompts: readonly string[]) =>
  prompts.map((prompt) => `${JSON.stringify({ [PROMPT_KEY]: prompt })}\n`).join("");

const readmeText = ({ from, train, eval: evaluation, seed }: PromptSetRequest) =>
  `# Prompts of PKU-SafeRLHF

\`train.jsonl\` holds ${train} prompts, \`eval.jsonl\` ${evaluation} others, drawn from ${from} with seed ${seed}.

The data set is by PKU-Alignment, under the licence CC BY-NC 4.0 (attribution, no commercial use):
${PKU_DATASET.slice("hf:".length)} on the Hugging Face hub. Many of its prompts ask for harmful things.
`;

/** @throws Error when another file is at the path; one with the same text is none */
async function assertFree(path: string, text: string): Promise<void> {
  const there = await readText(path, "read").catch(() => undefined);
  if (there === undefined || there === text) return;
  throw new Error(`Cannot write '${path}': another file is there; move it away, or give another --output`);
}
