/** What `eval` is to evaluate: a model, a list of models, or a file of answers. */
import { basename, extname, join } from "node:path";
import { parse } from "yaml";
import { type Subject, tagOf } from "../assembly/evaluations.ts";
import type { RunConfig } from "../config/sweep.ts";
import { formatError } from "../io/files/errors.ts";
import { isJsonObject } from "../io/files/json_object.ts";
import { isFile, isFolder } from "../io/files/presence.ts";
import { isDatasetName } from "../io/hub/dataset_files.ts";
import { pathOf } from "./arguments.ts";
import { readSettings } from "./options.ts";

export interface SubjectOptions {
  model?: string;
  models?: string;
  scored?: string;
  responses?: string;
  base?: string;
}

const KINDS = ["model", "models", "scored", "responses"] as const;

/** @throws RangeError when there are several of the options that say what is evaluated */
export function assertOneKind(options: SubjectOptions, set: readonly string[]): void {
  const given = KINDS.filter((kind) => options[kind] !== undefined).map((kind) => `--${kind}`);
  if (set.some((assignment) => /^\s*model_name\s*=/.test(assignment))) given.push("--set model_name");
  if (given.length > 1) {
    throw new RangeError(`${given.join(" and ")} each say what is evaluated; give one of them`);
  }
}

/** @throws RangeError when there are no two models whose distributions can be held against each other */
export function assertTwoModels(subjects: readonly Subject[], base: Subject | undefined): void {
  const answers = subjects.find(({ kind }) => kind !== "model");
  if (base?.kind === "model" && !answers) return;
  const found = answers
    ? `answers of the file ${answers.name}`
    : base
    ? `the file ${base.name} as base`
    : "no base";
  throw new RangeError(
    `--kl required models and a model as --base, found ${found}; name models, or leave it out`,
  );
}

/**
 * What is evaluated, each with a name of its own for its files.
 * @throws RangeError when two have the same
 * @throws Error when the list of models cannot be read, or is none
 */
export async function subjectsOf(
  options: SubjectOptions,
  { model_name }: Pick<RunConfig, "model_name">,
): Promise<{ subjects: Subject[]; base: Subject | undefined }> {
  const { models, scored, responses } = options;
  const one = (kind: Subject["kind"], name: string): Subject => ({ kind, name, tag: tagOf(name) });
  const subjects = models !== undefined
    ? await listedModels(models)
    : [scored ? one("scored", scored) : responses ? one("responses", responses) : one("model", model_name)];
  const baseName = options.base;
  const base = baseName === undefined
    ? undefined
    : one(await isFile(baseName) ? "scored" : "model", baseName);
  const tags = [...base && base.kind !== "scored" ? [base] : [], ...subjects].map(({ tag }) => tag);
  const twice = tags.find((tag, i) => tags.indexOf(tag) !== i);
  if (twice !== undefined) {
    throw new RangeError(
      `The files of two models would begin with "${twice}"; name them in a list for --models, as NAME: MODEL`,
    );
  }
  return { subjects, base };
}

/** Where the files go unless a folder is named: beside one model or file, else into `eval` of output_dir. */
export async function defaultFolder(
  subjects: readonly Subject[],
  base: Subject | undefined,
  { output_dir }: Pick<RunConfig, "output_dir">,
): Promise<string> {
  const [{ kind, name }] = subjects;
  const isAlone = subjects.length === 1 && base?.kind !== "model";
  if (!isAlone) return join(output_dir, "eval");
  if (kind !== "model") {
    return isDatasetName(name)
      ? join(output_dir, "eval")
      : `${name.slice(0, name.length - extname(name).length)}-eval`;
  }
  return await isFolder(name)
    ? join(name, "eval")
    : join(output_dir, "eval", name.replaceAll(/[^\w.@-]+/g, "--"));
}

/** A list of models, a mapping NAME: MODEL, or the reference's list of sweeps. */
async function listedModels(file: string): Promise<Subject[]> {
  const fail = (problem: string) =>
    formatError(file, `${problem}; write NAME: MODEL, one to a line, MODEL being a folder or a hub id`);
  let content: unknown;
  try {
    content = parse(await readSettings(file));
  } catch (error) {
    throw error instanceof Error && error.name.startsWith("YAML")
      ? fail(`required YAML, ${error.message}`)
      : error;
  }
  const list = isJsonObject(content) && Array.isArray(content.sweeps) ? content.sweeps : content;
  const entries: [tag: unknown, name: unknown][] = Array.isArray(list)
    ? list.map((entry) =>
      isJsonObject(entry) ? [entry.model_name, entry.policy_model_path] : [undefined, entry]
    )
    : isJsonObject(list)
    ? Object.entries(list)
    : [];
  if (entries.length === 0) throw fail(`required a list of models in ${basename(file)}, got none`);
  if (Array.isArray(list) && list.some((entry) => isJsonObject(entry) && "policy_vllm_ckpt" in entry)) {
    throw fail(
      'required folders of whole models, got a "policy_vllm_ckpt", which is vLLM\'s; convert that model first',
    );
  }
  return entries.map(([tag, name]) => {
    if (typeof name !== "string" || name === "" || (tag !== undefined && typeof tag !== "string")) {
      throw fail(`required the name of a model, got ${JSON.stringify(name) ?? "nothing"}`);
    }
    const path = pathOf(name);
    return {
      kind: "model",
      name: path,
      tag: tag === undefined ? tagOf(path) : tagOf(tag.replaceAll("/", "-")),
    };
  });
}
