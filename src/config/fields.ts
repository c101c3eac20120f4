import { z } from "zod";
import { scorerAddresses } from "./scorer_addresses.ts";

/** What a key carries besides its type: read by the error messages, the docs table and the resume check. */
export type FieldMeta = {
  description: string;
  group: Group;
  /** The accepted values in words, as in "must be {requirement};". */
  requirement: string;
  /** Values that other programs take and this one does not, and why. */
  refused?: Readonly<Record<string, string>>;
  /** What was probably meant by a text that is refused, or null. */
  meant?: (text: string) => string | null;
  /** A path, or something that may be one: "~" in front stands for the home folder. */
  isPath?: boolean;
  onResume: OnResume;
};

/**
 * Whether a key may differ between a checkpoint and the run that resumes it. kept: it must not. named: it may, and its
 * user is told from which step on, which the run's folder keeps. free: it changes no weights.
 */
export type OnResume = "kept" | "named" | "free";

/** Sections of the config file and of its documentation, in order. */
export const GROUPS = [
  "Model and prompts",
  "Scorer",
  "Lambda",
  "Sampling",
  "Loss",
  "Adapter",
  "Optimizer and batch",
  "Evolution strategies",
  "Evaluation",
  "Output and logging",
] as const;
export type Group = (typeof GROUPS)[number];

/** Group, help text, and whether the key may change on resume. */
type About = readonly [group: Group, description: string, resume?: Exclude<OnResume, "kept">];

interface Range {
  /** Smallest value allowed. */
  min?: number;
  /** Largest value allowed. */
  max?: number;
  /** The value must be above this. */
  above?: number;
  /** The value must be below this. */
  below?: number;
}

function meta([group, description, resume]: About, requirement: string): FieldMeta {
  return { group, description, requirement, onResume: resume ?? "kept" };
}

function rangeWords({ min, max, above, below }: Range): string {
  const bounds: string[] = [];
  if (min !== undefined) bounds.push(`>= ${min}`);
  if (above !== undefined) bounds.push(`> ${above}`);
  if (max !== undefined) bounds.push(`<= ${max}`);
  if (below !== undefined) bounds.push(`< ${below}`);
  return bounds.length === 0 ? "" : ` ${bounds.join(" and ")}`;
}

function bounded<T extends z.ZodNumber>(type: T, { min, max, above, below }: Range): T {
  let schema = type;
  if (min !== undefined) schema = schema.min(min);
  if (max !== undefined) schema = schema.max(max);
  if (above !== undefined) schema = schema.gt(above);
  if (below !== undefined) schema = schema.lt(below);
  return schema;
}

export function number(value: number, range: Range, about: About) {
  return bounded(z.number(), range).default(value).meta(meta(about, `a number${rangeWords(range)}`));
}

export function numberOrNull(value: number | null, range: Range, about: About) {
  const words = `a number${rangeWords(range)}, or null`;
  return bounded(z.number(), range).nullable().default(value).meta(meta(about, words));
}

export function integer(value: number, range: Range, about: About) {
  return bounded(z.int(), range).default(value).meta(meta(about, `an integer${rangeWords(range)}`));
}

export function integerOrNull(value: number | null, range: Range, about: About) {
  const words = `an integer${rangeWords(range)}, or null`;
  return bounded(z.int(), range).nullable().default(value).meta(meta(about, words));
}

export function integerListOrNull(value: readonly number[] | null, range: Range, about: About) {
  const words = `a non-empty list of different integers${rangeWords(range)}, or null`;
  const list = z.array(bounded(z.int(), range)).min(1)
    .refine((items) => new Set(items).size === items.length);
  return list.nullable().default(value && [...value]).meta(meta(about, words));
}

export function flag(value: boolean, about: About) {
  return z.boolean().default(value).meta(meta(about, "true or false"));
}

/** A flag, or the word for what the program finds out. */
export function flagOrAuto(value: boolean | "auto", about: About) {
  const schema = z.union([z.boolean(), z.literal("auto")]);
  return schema.default(value).meta(meta(about, 'true, false, or "auto"'));
}

/** A stage of ZeRO, or the word for what the program finds out. */
export function stageOrAuto<const S extends readonly [number, number]>(stages: S, about: About) {
  const schema = z.union([z.literal(stages), z.literal("auto")]) as z.ZodType<S[number] | "auto">;
  return schema.default("auto").meta(meta(about, `"auto", ${stages.join(" or ")}`));
}

/** A flag, or null for what another setting implies. */
export function flagOrNull(value: null, about: About) {
  return z.boolean().nullable().default(value).meta(meta(about, "true, false, or null"));
}

export function text(value: string, about: About) {
  return z.string().min(1).default(value).meta(meta(about, "a non-empty string"));
}

export function textOrNull(value: string | null, about: About) {
  return z.string().min(1).nullable().default(value).meta(meta(about, "a non-empty string, or null"));
}

export function oneOf<const V extends readonly [string, ...string[]]>(
  values: V,
  value: V[number],
  about: About,
  refused?: Readonly<Record<string, string>>,
) {
  const words = `one of ${values.map((name) => `"${name}"`).join(", ")}`;
  const schema = z.enum(values) as z.ZodType<V[number], V[number]>;
  return schema.default(() => value).meta({ ...meta(about, words), ...(refused && { refused }) });
}

/** A class of a classifier: its index or its name. */
export function labelOrNull(about: About) {
  const schema = z.union([z.int().min(0), z.string().min(1)]).nullable().default(null);
  return schema.meta(meta(about, "the index or the name of a label, or null"));
}

/** So many, or below 1 such a share of all. */
export function countOrShare(value: number, about: About) {
  const schema = z.number().min(0).refine((count) => count < 1 || Number.isInteger(count));
  return schema.default(value).meta(meta(about, "an integer >= 0, or a share of all < 1"));
}

/** Arguments of something else, by name. */
export function argumentsOrNull(value: null, about: About) {
  const schema = z.record(z.string(), z.union([z.number(), z.string()])).nullable();
  return schema.default(value).meta(meta(about, "a mapping of names to numbers or words, or null"));
}

/** One number or a list of them: a sweep, run one after the other. */
export function numberOrList(value: number, range: Range, about: About) {
  const item = bounded(z.number(), range);
  const words = `a number${rangeWords(range)}, or a non-empty list of different ones`;
  const list = z.array(item).min(1).refine((items) => new Set(items).size === items.length);
  return z.union([item, list]).default(value).meta(meta(about, words));
}

/** A file or a folder, or what may be one: a model is a folder or a hub id. */
export function path(value: string, about: About) {
  return z.string().min(1).default(value).meta({ ...meta(about, "a non-empty string"), isPath: true });
}

export function pathOrNull(value: string | null, about: About) {
  const words = "a non-empty string, or null";
  return z.string().min(1).nullable().default(value).meta({ ...meta(about, words), isPath: true });
}

export function textList(value: readonly string[], about: About) {
  return z.array(z.string().min(1)).default([...value]).meta(
    meta(about, "a list of non-empty strings, [] for none"),
  );
}

export function textListOrNull(value: null, about: About) {
  return z.array(z.string().min(1)).nullable().default(value).meta(
    meta(about, "a list of non-empty strings, [] for none, or null"),
  );
}

/** One of these words, a file of the user's own, or null. */
export function wordOrFileOrNull<const W extends string>(words: readonly W[], value: null, about: About) {
  const schema = z.string().regex(new RegExp(`^(${words.join("|")}|file:.+)$`));
  const requirement = `${words.map((word) => `"${word}"`).join(", ")}, file:PATH, or null`;
  return schema.nullable().default(value).meta({ ...meta(about, requirement), isPath: true });
}

/** Values of any kind for something else, by name. */
export function valuesOrNull(value: null, about: About) {
  const schema = z.record(z.string(), z.json()).nullable();
  return schema.default(value).meta(meta(about, "a mapping of names to values, or null"));
}

/** Entries of several keys, each with a name of its own. @param keys as words, for messages */
export function entriesOrNull<T extends z.ZodType<{ name: string }>>(entry: T, keys: string, about: About) {
  const list = z.array(entry).min(1)
    .refine((items) => new Set(items.map(({ name }) => name)).size === items.length);
  const words =
    `a non-empty list of {name: NAME} with different names of letters, digits, "_" and "-", each with any of the ` +
    `keys ${keys}, or null`;
  return list.nullable().default(null).meta({ ...meta(about, words), isPath: true });
}

/** Different ones of these names, or a word that stands for all of them. */
export function someOf<const V extends readonly [string, ...string[]], const W extends string>(
  values: V,
  all: W,
  value: readonly V[number][],
  about: About,
) {
  const words = `a non-empty list of ${values.map((name) => `"${name}"`).join(", ")}, or "${all}"`;
  const list = z.array(z.enum(values) as z.ZodType<V[number], V[number]>).min(1)
    .refine((items) => new Set(items).size === items.length);
  const schema = z.union([list, z.literal(all) as z.ZodType<W, W>]);
  return schema.default(() => [...value]).meta(meta(about, words));
}

/** Different ones of these names, one of them alone, or a word for something else. */
export function listOrWord<
  const V extends readonly [string, ...string[]],
  const W extends readonly [string, ...string[]],
>(
  names: V,
  words: W,
  value: W[number],
  about: About,
) {
  const quoted = (texts: readonly string[]) => texts.map((text) => `"${text}"`).join(", ");
  const name = z.enum(names) as z.ZodType<V[number], V[number]>;
  const list = z.array(name).min(1).refine((items) => new Set(items).size === items.length);
  const word = z.enum(words) as z.ZodType<W[number], W[number]>;
  const schema = z.union([word, list, name.transform((one) => [one])]);
  return schema.default(() => value)
    .meta(
      meta(about, `${quoted(words)}, ${quoted(names)}, or a non-empty list of different ones of the latter`),
    );
}

/** Where a service is, or the file that its address will be written to; of several services, a list or with commas. */
export function addressesOrNull(value: string | null, about: About) {
  const one = z.union([z.url({ protocol: /^https?$/ }), z.string().regex(/^file:./)]);
  const isAddresses = (text: string) => scorerAddresses(text).every((part) => one.safeParse(part).success);
  const text = z.string().refine(isAddresses);
  const list = z.array(text).min(1).transform((items) => items.join(", "));
  const words =
    "an http:// or https:// address, file:PATH of a file that will hold some, a list of these or several " +
    "with commas between, or null";
  const meant = (text: string) => /^[\w.-]+:\d+(\/|$)/.test(text) ? `http://${text}` : null;
  return z.union([text, list]).nullable().default(value).meta({ ...meta(about, words), isPath: true, meant });
}
