/** Which of a run's kept completions are asked for, and in which order. */
import { nearestName } from "../config/unknown_key.ts";
import type { RolloutRecord } from "./rollout_records.ts";
import { type Condition, type FieldKind, type Fields, type FieldValue, parseCondition } from "./where.ts";

/** What a record holds beside its lists. The scores of a scorer's parts come to it, by their names. */
const KINDS: Readonly<Record<string, FieldKind>> = {
  step: "number",
  index: "number",
  prompt: "text",
  completion: "text",
  end: "text",
  length: "number",
  reward: "number",
  cost: "number",
  combined: "number",
  advantage: "number",
  lambda: "number",
};

const LISTS: readonly string[] = ["prompt_ids", "completion_ids", "logprobs", "ref_logprobs"];

export interface RolloutQuery {
  /** A condition (where.ts); all unless given. */
  where?: string;
  /** A field, "-" before it for the largest first; by step and place unless given. Those without it come last. */
  sort?: string;
  /** The most that are given; 0 for all. */
  limit: number;
  /** Held to be fields or lists of a record. */
  columns: readonly string[];
}

export interface FoundRollouts {
  rollouts: readonly RolloutRecord[];
  /** How many meet the condition. */
  matching: number;
  /** How many there are. */
  total: number;
  kinds: Readonly<Record<string, FieldKind>>;
}

/** Of several costs the lambda of each, as "lambda/NAME". */
const lambdasOf = ({ lambda }: RolloutRecord): Record<string, number> =>
  typeof lambda !== "object" || lambda === null // a record may be of another program
    ? {}
    : Object.fromEntries(Object.entries(lambda).map(([name, value]) => [`lambda/${name}`, value]));

/** What of a record is a number or a text. */
export function fieldsOf(record: RolloutRecord, kinds: Readonly<Record<string, FieldKind>>): Fields {
  const { scores = {}, ...own } = record;
  const given: Readonly<Record<string, unknown>> = { ...scores, ...lambdasOf(record), ...own };
  const valueOf = (name: string): FieldValue => {
    const value = given[name];
    const isOfKind = kinds[name] === "number" ? typeof value === "number" : typeof value === "string";
    return isOfKind ? value as FieldValue : null;
  };
  return Object.fromEntries(Object.keys(kinds).map((name) => [name, valueOf(name)]));
}

/** @throws RangeError when a record has no such field */
function checkFields(option: string, names: readonly string[], known: readonly string[]): void {
  for (const name of names) {
    if (known.includes(name)) continue;
    const nearest = nearestName(name, known);
    throw new RangeError(
      `${option} required fields of a rollout (${known.join(", ")}), found "${name}"; ` +
        (nearest ? `did you mean ${nearest}?` : "give some of these"),
    );
  }
}

/** Order of two values; those that are not there come last either way. */
function compare(one: FieldValue, other: FieldValue, sign: number): number {
  if (one === null || other === null) return Number(one === null) - Number(other === null);
  return one < other ? -sign : one > other ? sign : 0;
}

interface Reader {
  kinds: Readonly<Record<string, FieldKind>>;
  isWanted: Condition;
  sortBy: string | undefined;
  sign: number;
}

/** The first record says which scores there are. */
function readerOf(first: RolloutRecord, { where, sort, columns }: RolloutQuery): Reader {
  const parts = [...Object.keys(first.scores ?? {}), ...Object.keys(lambdasOf(first))];
  const scores = parts.map((name) => [name, "number"] as const);
  const kinds = { ...Object.fromEntries(scores), ...KINDS };
  const names = Object.keys(kinds);
  const sortBy = sort?.replace(/^-/, "");
  checkFields("--sort", sortBy === undefined ? [] : [sortBy], names);
  checkFields("--columns", columns, [...names, ...LISTS]);
  const isWanted = where === undefined ? () => true : parseCondition(where, kinds);
  return { kinds, isWanted, sortBy, sign: sort?.startsWith("-") ? -1 : 1 };
}

/**
 * Those of the records that are asked for; holds little more than these.
 * @param records by step and place
 * @throws RangeError when the condition cannot be read, or a field is none; and what reading a record throws
 */
export async function findRollouts(
  records: AsyncIterable<RolloutRecord>,
  query: RolloutQuery,
): Promise<FoundRollouts> {
  const most = query.limit === 0 ? Infinity : query.limit;
  let reader: Reader | null = null;
  let found: { record: RolloutRecord; key: FieldValue }[] = [];
  let [matching, total] = [0, 0];
  const cut = ({ sortBy, sign }: Reader) => {
    if (sortBy !== undefined) found.sort((a, b) => compare(a.key, b.key, sign)); // stable
    found = found.slice(0, most);
  };
  for await (const record of records) {
    reader ??= readerOf(record, query);
    total++;
    const fields = fieldsOf(record, reader.kinds);
    if (!reader.isWanted(fields)) continue;
    matching++;
    if (reader.sortBy === undefined && found.length >= most) continue;
    found.push({ record, key: reader.sortBy === undefined ? null : fields[reader.sortBy] });
    if (found.length > 2 * most + 1000) cut(reader);
  }
  if (reader) cut(reader);
  return { rollouts: found.map(({ record }) => record), matching, total, kinds: reader?.kinds ?? KINDS };
}
