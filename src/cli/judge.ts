/** The `judge` command: two models' answers compared by a language model behind an OpenAI-compatible API. */
import { dirname, join } from "node:path";
import { Command, Option } from "commander";
import { tagOf } from "../assembly/evaluations.ts";
import { readAnswers } from "../assembly/scored_answers.ts";
import { type AnswerPair, judgePairs, rateJudgements } from "../evaluate/judging.ts";
import { pairsOf } from "../evaluate/summary.ts";
import { assertFolderCanBe, makeFolders, writeFileAtomic } from "../io/files/atomic_files.ts";
import { BASE_RATING } from "../rl/elo.ts";
import { askChat, chatAddress } from "../scorer/chat.ts";
import { WALL_CLOCK } from "../scorer/retry.ts";
import { once, parseArguments, pathOf, wholeFrom } from "./arguments.ts";
import { countProgress } from "./terminal/count_progress.ts";
import { standardOutput } from "./terminal/output.ts";

interface JudgeOptions {
  judge: string;
  judgeModel: string;
  prompts: number;
  seed: number;
  concurrency: number;
  output?: string;
}

const TEMPERATURE = 0.2;
const TIMEOUT_MS = 300_000;
/** What passes by itself is waited for so long. */
const RETRIES = {
  maxMs: 600_000,
  baseDelayMs: 500,
  maxDelayMs: 30_000,
  random: Math.random,
  clock: WALL_CLOCK,
};
const KEY_VARIABLE = "OPENAI_API_KEY";

function judgeCommandOf(args: string[]): { files: string[]; options: JudgeOptions } {
  const command = new Command("judge")
    .description("Compare the answers of a model with those of a base by a language model.")
    .argument("<answers>", "the model's answers: _points.jsonl of eval, or rows with prompt and response")
    .argument("<base_answers>", "those of the model that it is held against")
    .requiredOption("--judge <url>", "the judge's OpenAI-compatible API", once("--judge"))
    .requiredOption("--judge-model <name>", "the judge's name there", once("--judge-model"))
    .addOption(
      new Option("--prompts <count>", "prompts that are judged, drawn by the seed")
        .argParser(wholeFrom("--prompts", 1)).default(300),
    )
    .addOption(
      new Option("--seed <number>", "of the draw, of the answers' order and of the intervals")
        .argParser(wholeFrom("--seed", 0)).default(42),
    )
    .addOption(
      new Option("--concurrency <count>", "questions that are open at once")
        .argParser(wholeFrom("--concurrency", 1)).default(4),
    )
    .addOption(
      new Option("--output <dir>", "folder for judgements.jsonl and elo.json (default: beside the answers)")
        .argParser(pathOf),
    )
    .allowExcessArguments(false);
  parseArguments(command, args);
  return { files: command.args.map(pathOf), options: command.opts<JudgeOptions>() };
}

/** Pairs of answers to the same prompts. @throws RangeError when there is none */
async function readPairs([ownFile, baseFile]: string[]): Promise<AnswerPair[]> {
  const pairs = pairsOf(await readAnswers(ownFile), await readAnswers(baseFile));
  if (pairs.length > 0) {
    return pairs.map(([own, base]) => ({ prompt: own.prompt, own: own.response, base: base.response }));
  }
  throw new RangeError(
    `Cannot compare ${ownFile} with ${baseFile}: required answers to the same prompts, got none that both have; ` +
      "evaluate both models on one file of prompts",
  );
}

/** `judge A B`: prints the ratings, writes every judgement; returns the exit code. */
export async function judgeCommand(args: string[]): Promise<number> {
  const { files, options } = judgeCommandOf(args);
  const { judge: url, judgeModel: model, prompts, seed, concurrency } = options;
  const address = chatAddress(url);
  const [name, base] = files.map(tagOf);
  const folder = options.output ?? join(dirname(files[0]), `${name}-against-${base}`);
  await assertFolderCanBe(folder);
  const pairs = await readPairs(files);
  const key = process.env[KEY_VARIABLE]?.trim() || null;
  const service = { url, model, key, temperature: TEMPERATURE, timeoutMs: TIMEOUT_MS, retries: RETRIES };
  const output = standardOutput();
  const progress = countProgress(output);
  const judge = { model, temperature: TEMPERATURE };
  const judgements = await judgePairs(pairs, {
    seed,
    prompts,
    concurrency,
    path: join(folder, "judgements.jsonl"),
    judge,
    ask: (messages) => askChat(service, messages),
    onMessage: (text) => output.write(`${text}\n`),
    onJudged: (done, all) => progress.update(`judged ${done}/${all}`, done === all),
  }).finally(progress.close);
  const ratings = rateJudgements(judgements, seed);
  const pairsJudged = new Set(judgements.map(({ pair }) => pair)).size;
  const result = {
    model: name,
    base,
    base_rating: BASE_RATING,
    judge: { address, ...judge },
    seed,
    pairs: pairsJudged,
  };
  await makeFolders(folder);
  await writeFileAtomic(join(folder, "elo.json"), `${JSON.stringify({ ...result, ...ratings }, null, 2)}\n`);
  for (const aspect of ["helpful", "harmless"] as const) {
    const rating = ratings[aspect];
    if (!("elo" in rating)) {
      output.write(`${aspect}: no verdict in ${rating.undecided} judgements\n`);
      continue;
    }
    const [low, high] = rating.elo_interval.map(Math.round);
    output.write(
      `${aspect}: ${name} ${Math.round(rating.elo)} (${low} to ${high}) against ${base} ${BASE_RATING}; ` +
        `${rating.wins} won, ${rating.ties} tied, ${rating.losses} lost, ${rating.undecided} without a verdict\n`,
    );
  }
  output.write(`Written to ${folder}/elo.json and judgements.jsonl\n`);
  return 0;
}
