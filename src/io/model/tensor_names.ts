// Names of tensors as transformers writes them today, from the names that files really hold. Pure.

import { formatError } from "../files/errors.ts";

/** What torch.compile, FSDP and activation checkpointing put before what they wrap, wherever it stands. */
const WRAPPER = /_orig_mod\.|_fsdp_wrapped_module\.|_checkpoint_wrapped_module\./g;
/** DistributedDataParallel's, and DeepSpeed's, before every name. */
const PARALLEL = /^(?:module\.)+/;

/** The text part of a model that sees or hears, as transformers names it now and as it did before. */
const TEXT_PARTS: readonly (readonly [stored: RegExp, canonical: string])[] = [
  [/^model\.language_model\.lm_head\./, "lm_head."],
  [/^model\.language_model\.(?:model\.)?/, "model."],
  [/^language_model\.lm_head\./, "lm_head."],
  [/^language_model\.(?:model\.)?/, "model."],
];
/** Its other parts, which no text goes through. */
const OTHER_PARTS = new RegExp(
  "^(?:model\\.)?(?:vision|visual|image|audio|speech|multi_modal|mm_projector|projector|connector|" +
    "embed_vision|embed_audio)",
);

/** What a bare transformer's file holds, without the name of the model that it stands in. */
const BARE = /^(?:embed_tokens|layers|norm)\./;

export interface TensorNames {
  /** Stored names by canonical ones, in the order of the file. */
  stored: ReadonlyMap<string, string>;
  /** Stored names of what no text goes through. */
  leftOut: readonly string[];
}

/**
 * Names as transformers writes them: without marks of wrappers, the text part of a larger model as a model of its own,
 * and the transformer below "model.".
 * @param path named in errors
 * @throws Error when two tensors would have one name
 */
export function canonicalNames(names: Iterable<string>, path: string): TensorNames {
  const unwrapped = [...names].map((name) => [unwrap(name), name] as const);
  const isPart = unwrapped.some(([name]) => TEXT_PARTS.some(([part]) => part.test(name)));
  const isOther = (name: string) => isPart && OTHER_PARTS.test(name);
  const texts = unwrapped.filter(([name]) => !isOther(name))
    .map(([name, stored]) => [isPart ? textName(name) : name, stored] as const);
  const isBare = !texts.some(([name]) => name.startsWith("model."));
  const stored = new Map<string, string>();
  for (const [name, original] of texts) {
    const canonical = isBare && BARE.test(name) ? `model.${name}` : name;
    const other = stored.get(canonical);
    if (other !== undefined) {
      throw formatError(
        path,
        `"${other}" and "${original}" both stand for "${canonical}"; keep the tensors of one model`,
      );
    }
    stored.set(canonical, original);
  }
  return { stored, leftOut: unwrapped.filter(([name]) => isOther(name)).map(([, original]) => original) };
}

/** Both kinds of mark, in any order, as often as they were put there. */
function unwrap(name: string): string {
  return name.replace(WRAPPER, "").replace(PARALLEL, "");
}

function textName(name: string): string {
  const part = TEXT_PARTS.find(([stored]) => stored.test(name));
  return part ? name.replace(part[0], part[1]) : name;
}
