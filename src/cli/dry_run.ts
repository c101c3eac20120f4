/** `--dry-run`: tries out every path, and says what a run would do. Needs no GPU, writes nothing, asks no scorer. */
import { dirname, resolve } from "node:path";
import { lookUpName } from "../assembly/hub.ts";
import { loadTokenizerOf } from "../assembly/models.ts";
import { loadEvalPrompts, loadPrompts } from "../assembly/prompts.ts";
import { batchShape, completionsPerPrompt, totalSteps } from "../config/batch.ts";
import { formatConfig } from "../config/describe.ts";
import type { Config } from "../config/schema.ts";
import { scorerAddresses } from "../config/scorer_addresses.ts";
import { type RunConfig, sweepRuns } from "../config/sweep.ts";
import { messageOf, systemCode } from "../io/files/errors.ts";
import { isFolder } from "../io/files/presence.ts";
import { readText } from "../io/files/whole_file.ts";
import { precisionText } from "../policy/precision.ts";
import { parseScorerUrls } from "../scorer/url.ts";
import { mean } from "../tracking/statistics.ts";
import type { Prompt } from "../train/prompts.ts";
import type { Requirement } from "./doctor/diagnosis.ts";
import { probeRequirements } from "./doctor/requirements.ts";
import { labelled } from "./terminal/columns.ts";

const COMMENT = "# ";

type Line = readonly [label: string, text: string];

/**
 * The plan as comments and the settings below them: a file that loads again.
 * @param more lines of the command's own: where the results would go, what is worth noticing
 * @param isTraining whether the policy is trained and not only evaluated
 * @param worldSize ranks that train together
 * @param columns of the terminal; left out, no line is wrapped
 * @throws Error when something that the run needs is not there; it names all that is missing
 */
export async function dryRunText(
  config: Config,
  more: readonly Line[],
  { isTraining, worldSize = 1, columns }: { isTraining: boolean; worldSize?: number; columns?: number },
): Promise<string> {
  const requirements = await probeRequirements(config, { probeService: probeScorerFiles, isTraining });
  const failures = requirements.flatMap(({ subject, outcome }) =>
    "failure" in outcome ? [`${subject}: ${outcome.failure}; ${outcome.remedy}`] : []
  );
  if (failures.length > 0) throw new Error(failures.join("\n"));
  const [run] = sweepRuns(config);
  const lines = [
    ...requirements.map(({ subject, outcome }): Line => [subject, "detail" in outcome ? outcome.detail : ""]),
    ...await (isTraining ? trainingLines(run, worldSize) : evaluationLines(run)),
    ...more,
  ];
  const plan = labelled(lines, columns && columns - COMMENT.length).replaceAll("\n", `\n${COMMENT}`);
  return `# The plan; nothing was run.\n${COMMENT}${plan}\n\n${formatConfig(config)}`;
}

/** Why prompts cannot be measured; undefined where they can. */
async function unmeasured({ model_name }: RunConfig): Promise<string | undefined> {
  const { dir } = await lookUpName(model_name);
  return dir === undefined
    ? `known once ${model_name} is downloaded, whose tokenizer measures the prompts`
    : undefined;
}

async function evaluationLines(run: RunConfig): Promise<Line[]> {
  const reason = await unmeasured(run);
  if (reason !== undefined) return [["eval prompts", reason]];
  const tokenizer = await loadTokenizerOf(run.model_name);
  const prompts = await loadEvalPrompts(run.eval_jsonl!, tokenizer, run);
  return [["eval prompts", lengthsText(prompts, run.max_prompt_length)]];
}

async function trainingLines(run: RunConfig, worldSize: number): Promise<Line[]> {
  const reason = await unmeasured(run);
  if (reason !== undefined) return [["steps", reason]];
  const { prompts, evalPrompts } = await loadPrompts(run);
  const shape = batchShape(run, worldSize);
  const steps = totalSteps(run, prompts.length, shape);
  const epochs = steps / shape.updatesPerGeneration * shape.promptsPerGeneration / prompts.length;
  const batches = `${shape.completionsPerGeneration} completions = ${shape.promptsPerGeneration} prompts x ` +
    `${completionsPerPrompt(run)}${run.algorithm === "es" ? " members" : ""}`;
  const updates = shape.updatesPerGeneration;
  return [
    ...(worldSize === 1 ? [] : [["ranks", `${worldSize}, none is started`] as const]),
    ["steps", `${steps}, of ${batches}${updates === 1 ? "" : `, trained on in ${updates} steps`}`],
    ["epochs", `${Number(epochs.toFixed(3))} over ${prompts.length} prompts`],
    ["precision", precisionLine(run)],
    ["train prompts", lengthsText(prompts, run.max_prompt_length)],
    ...(evalPrompts === null
      ? []
      : [["eval prompts", lengthsText(evalPrompts, run.max_prompt_length)] as const]),
  ];
}

/** The precisions as they are set: what `auto` stands for depends on a GPU, which is not opened here. */
function precisionLine(run: RunConfig): string {
  const text = precisionText(run);
  return /\bauto\b/.test(text) ? `${text}; doctor says what auto is on this GPU` : text;
}

/** `6 to 24 tokens, 13.1 on average; 3 of 128 cut to max_prompt_length 48`. */
function lengthsText(prompts: readonly Prompt[], maxLength: number): string {
  const lengths = prompts.map(({ ids }) => ids.length);
  const [least, most] = lengths.reduce(([a, b], n) => [Math.min(a, n), Math.max(b, n)], [Infinity, 0]);
  const cut = prompts.filter(({ truncated }) => truncated).length;
  const cutText = cut === 0 ? "none" : `${cut} of ${prompts.length}`;
  const range = least === most
    ? `${most} tokens each`
    : `${least} to ${most} tokens, ${(mean(lengths) ?? 0).toFixed(1)} on average`;
  return `${range}; ${cutText} cut to max_prompt_length ${maxLength}`;
}

const probeScorerFiles = ({ scorer_url }: Config) =>
  Promise.all(scorer_url === null ? [] : scorerAddresses(scorer_url).map(probeScorerFile));

/** A service is not asked, as it may start later; the file with its address may come later, its folder may not. */
async function probeScorerFile(address: string): Promise<Requirement> {
  const subject = "scorer_url";
  const remedy = "give file:PATH with the path that the scorer has as --url_file";
  if (!address.startsWith("file:")) return { subject, outcome: { detail: `${address}: not asked` } };
  const path = address.slice("file:".length);
  try {
    const text = await readText(path, "read the scorer's address from");
    return { subject, outcome: { detail: `${path}: ${parseScorerUrls(text, path).join(", ")}, not asked` } };
  } catch (error) {
    const failure = messageOf(error);
    const isAbsent = systemCode(error) === "ENOENT";
    const folder = dirname(resolve(path));
    if (!isAbsent) return { subject, outcome: { failure, remedy } };
    if (!await isFolder(folder)) {
      return {
        subject,
        outcome: { failure: `there is no folder '${folder}' for the file '${path}'`, remedy },
      };
    }
    return { subject, outcome: { detail: `${path}: not there yet; the run waits until a scorer writes it` } };
  }
}
