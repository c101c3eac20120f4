/** What a run reads, told apart by content: prompts, and the model that it begins with. */
import type { Change } from "../config/resume.ts";

/** A prompt set by its content. */
export interface PromptSetIdentity {
  /** The setting. */
  name: string;
  /** Of the file's bytes; of several files, or of rows that a program gave, of all together. */
  sha256: string;
}

export interface RunInputs {
  train: PromptSetIdentity;
  /** null without evaluation. */
  eval: PromptSetIdentity | null;
  /** Hashes of the files of the starting model, and of score models that are served here, by their names. */
  model: Readonly<Record<string, string>>;
}

const KEYS = { train: "train_jsonl", eval: "eval_jsonl" } as const;

/** Digits of a hash that a message shows. */
const SHOWN = 12;

const shown = (set: PromptSetIdentity | null) => set && `sha256 ${set.sha256.slice(0, SHOWN)}`;

/** Prompt sets whose content is another; a file that was moved is the same. */
export function promptChanges(saved: RunInputs, current: RunInputs): Change[] {
  return (["train", "eval"] as const)
    .filter((set) => saved[set]?.sha256 !== current[set]?.sha256)
    .map((set) => ({ key: KEYS[set], before: shown(saved[set]), now: shown(current[set]) }));
}

/**
 * An evaluation that a run had not, or has no more, is no other than before.
 * @throws RangeError when a model is another, or prompts are and new ones are not allowed; it names them
 */
export function assertSameInputs(
  saved: RunInputs,
  current: RunInputs,
  { allowNewPrompts, checkpoint }: { allowNewPrompts: boolean; checkpoint: string },
): void {
  const names = [...new Set([...Object.keys(current.model), ...Object.keys(saved.model)])];
  const otherFiles = names.filter((name) => saved.model[name] !== current.model[name]);
  if (otherFiles.length > 0) {
    throw new RangeError(
      `Cannot resume from "${checkpoint}": files of the models that the run began with have changed: ${
        otherFiles.join(", ")
      }; ` +
        "restore them, choose another output_dir, or start over with resume: false",
    );
  }
  const refused = promptChanges(saved, current).filter(({ before, now }) => before !== null && now !== null);
  if (allowNewPrompts || refused.length === 0) return;
  const found = refused.map(({ key, before, now }) => {
    const { name } = (key === KEYS.train ? current.train : current.eval)!;
    return `${key} '${name}' has ${now}, and the run began with ${before}`;
  });
  throw new RangeError(
    `Cannot resume from "${checkpoint}": its prompts are others: ${found.join("; ")}; ` +
      "restore them, set allow_new_prompts=true to go on with the new ones, choose another output_dir, or start over " +
      "with resume: false",
  );
}
