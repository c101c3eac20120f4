/** The memory of a run for `doctor`: on this machine's GPU, or planned for one that is not here. */
import { planRun } from "../../assembly/memory.ts";
import { withModelTexts } from "../../assembly/model_texts.ts";
import { type PlanTarget, planTarget } from "../../assembly/named_gpus.ts";
import { type PromptLengths, promptLengths } from "../../assembly/prompts.ts";
import { lookUpName, type ModelPlace, modelPlaces } from "../../assembly/hub.ts";
import { type RunConfig, sweepRuns } from "../../config/sweep.ts";
import type { Config } from "../../config/schema.ts";
import { formatBytes } from "../../config/units.ts";
import { messageOf } from "../../io/files/errors.ts";
import { assemblyEvents } from "../terminal/assembly_events.ts";
import { memoryLines } from "../terminal/banner.ts";
import { standardOutput } from "../terminal/output.ts";
import { type Finding, requirementFindings, type Section } from "./diagnosis.ts";

/** Models of the run that lie on a hub and not in the cache. */
async function notDownloaded(config: RunConfig): Promise<string[]> {
  const found = await Promise.all(modelPlaces(config).map(({ name }) => lookUpName(name)));
  return found.filter(({ dir }) => dir === undefined).map(({ name }) => name);
}

function failed(title: string, error: unknown, remedy: string): Section {
  const failure = messageOf(error);
  return { title, findings: requirementFindings([{ subject: "training", outcome: { failure, remedy } }]) };
}

async function plannedFindings(
  run: RunConfig,
  lengths: PromptLengths,
  size: number,
  target?: PlanTarget,
): Promise<Finding[]> {
  const ranks = { rank: 0, size };
  const planned = await planRun(run, lengths, assemblyEvents(standardOutput()), { target, ranks });
  const [total] = memoryLines(planned, run.per_device_train_batch_size);
  const parts = planned.plan.parts.map(({ name, bytes }): Finding => ({
    mark: "note",
    subject: name,
    detail: formatBytes(bytes),
  }));
  return [{ mark: "ok", subject: "training", detail: total }, ...parts];
}

/** @param size ranks */
const titleFor = (what: string, size: number) => size === 1 ? what : `${what}, each of ${size} ranks`;

/** The memory that training with the config takes, part by part, or why that cannot be said. */
export async function memorySection(config: () => Promise<Config>, size: number): Promise<Section> {
  const title = titleFor("GPU memory", size);
  try {
    const [run] = sweepRuns(await config());
    const missing = await notDownloaded(run);
    if (missing.length > 0) {
      const detail = `known once ${missing.join(" and ")} is downloaded, which training does`;
      return { title, findings: [{ mark: "note", subject: "training", detail }] };
    }
    const lengths = await promptLengths(run, assemblyEvents(standardOutput()));
    return { title, findings: await plannedFindings(run, lengths, size) };
  } catch (error) {
    return failed(title, error, "set what the message says, or what the lines above miss");
  }
}

/** Runs `use` with the models as folders that hold at least their texts. */
async function withTexts<R>(run: RunConfig, use: (run: RunConfig) => Promise<R>): Promise<R> {
  const enter = ([place, ...more]: readonly ModelPlace[], found: RunConfig): Promise<R> =>
    place === undefined
      ? use(found)
      : withModelTexts(place.name, ({ dir }) => enter(more, place.with(found, dir)));
  return await enter(modelPlaces(run), run);
}

/** How long prompts are: as they are, or, where tokenizer or file are missing, as long as they may be. */
async function lengthsOrMost(run: RunConfig): Promise<{ lengths: PromptLengths; isKnown: boolean }> {
  try {
    return { lengths: await promptLengths(run), isKnown: true };
  } catch {
    const most = run.max_prompt_length;
    const evalPrompts = run.eval_jsonl === null ? 0 : run.eval_batch_size;
    return { lengths: { longestPrompt: most, longestEvalPrompt: most, evalPrompts }, isKnown: false };
  }
}

/** The memory that training would take on a GPU that need not be here, of models whose weights need not be here. */
export async function plannedSection(
  config: () => Promise<Config>,
  gpu: string,
  size: number,
): Promise<Section> {
  const title = titleFor(`GPU memory on ${gpu}`, size);
  try {
    const target = planTarget(gpu);
    const [run] = sweepRuns({ ...await config(), gpu_memory_gib: null });
    const findings = await withTexts(run, async (found) => {
      const { lengths, isKnown } = await lengthsOrMost(found);
      const assumed: Finding[] = isKnown ? [] : [{
        mark: "note",
        subject: "prompts",
        detail: `not read: all are taken to be of max_prompt_length ${found.max_prompt_length}`,
      }];
      return [...await plannedFindings(found, lengths, size, target), ...assumed];
    });
    return { title, findings };
  } catch (error) {
    return failed(title, error, "change what the message says");
  }
}
