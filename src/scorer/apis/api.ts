/** What a scorer service speaks: what it is asked, and how its answers are read. */
import type { ScorerInput, ScorerRoute } from "../../config/scorer_apis.ts";
import { show } from "../messages.ts";
import type { Answer, Health, ListsByName, ScoreKind, Scores } from "../protocol.ts";

/** A class of a classification model, by its index or its name. */
export type Label = number | string;

/** What a service is asked for. */
export interface Asking {
  /** What it gives: rewards, costs or both. */
  kinds: readonly ScoreKind[];
  /** Of which kinds it may give several, by name. */
  named: readonly ScoreKind[];
  /** What its health said that it wants. */
  wants: readonly string[];
  input: ScorerInput;
  /** Which class is which score, where the service classifies; null: the only one. */
  labels: Readonly<Record<ScoreKind, Label | null>>;
  /** Column of the prompts' rows that goes along as their label; null: none. */
  labelKey: string | null;
  /** Of Beaver's contract: prompts and completions, or whole conversations. */
  route: ScorerRoute;
}

/** One POST of JSON. */
export interface ScoreRequest {
  path: string;
  body: unknown;
  /**
   * Takes the scores of `kinds` out of the answer.
   * @throws TypeError when one for each answer that was asked for is not there
   */
  read(json: unknown): ReadScores;
}

/** Scores of the kinds asked for, and of which answers the end was not read, where the service says so. */
export interface ReadScores extends Pick<Scores, ScoreKind | "named"> {
  cut?: readonly boolean[];
}

export interface ScorerApi {
  /** How it is asked for its health; null: it cannot be asked. */
  health: {
    path: string;
    /** Whether its answer is JSON. */
    isJson: boolean;
    /** @throws TypeError when it is not what a healthy service of this kind says */
    read(answer: unknown): Health;
  } | null;
  /** Whether a request holds one answer alone; default false. */
  isOneByOne?(asking: Pick<Asking, "input">): boolean;
  /** The request that judges these answers. @param url of the service */
  request(answers: readonly Answer[], asking: Asking, url: string): ScoreRequest;
}

/** An answer that is right, to a question that a setting gets wrong. */
export class WrongSetting extends TypeError {
  override readonly name = "WrongSetting";

  readonly remedy: string;

  constructor(problem: string, remedy: string) {
    super(problem);
    this.remedy = remedy;
  }
}

/** Scores of the kinds asked for; of the others there are none. */
export function scoresOf(
  kinds: readonly ScoreKind[],
  valuesOf: (kind: ScoreKind) => number[],
): Pick<Scores, ScoreKind> {
  const scores: Pick<Scores, ScoreKind> = { rewards: [], costs: [] };
  for (const kind of kinds) scores[kind] = valuesOf(kind);
  return scores;
}

/**
 * The lists of a kind under the names that metrics have.
 * @throws WrongSetting when there are several, and nothing says what is to become of each
 */
export function namedLists(
  kind: ScoreKind,
  byName: ListsByName,
  { named }: Pick<Asking, "named">,
): Record<string, number[]> {
  const names = Object.keys(byName ?? {});
  if (names.length > 1 && !named.includes(kind)) {
    const entries = names.map((name) => `{name: ${name}}`).join(", ");
    throw new WrongSetting(
      `"${kind}" has ${names.length} names (${names.join(", ")}), and ${kind} is null`,
      `say what becomes of each: set ${kind} to [${entries}]`,
    );
  }
  return Object.fromEntries(names.map((name) => [`${kind}/${name}`, byName![name]]));
}

/** The setting that names the class of a score. */
const LABEL_KEYS = { rewards: "reward_label", costs: "cost_label" } as const;

/**
 * The place of a label among the classes of a model.
 * @param names of the classes, where they are known; else how many there are
 * @throws WrongSetting when it is none of them
 */
export function placeOfLabel(
  kind: ScoreKind,
  label: Label | null,
  names: readonly string[] | number,
): number {
  const count = typeof names === "number" ? names : names.length;
  if (label === null && count === 1) return 0;
  const place = typeof label === "string" && typeof names !== "number" ? names.indexOf(label) : label;
  if (typeof place === "number" && Number.isInteger(place) && place >= 0 && place < count) return place;
  const listed = typeof names === "number"
    ? `0 to ${count - 1}`
    : names.map((name, i) => `${i} ("${name}")`).join(", ");
  throw wrongLabel(kind, label, count, listed);
}

/** What is wrong with the setting of a label. @param listed what it may be */
export function wrongLabel(
  kind: ScoreKind,
  label: Label | null,
  count: number,
  listed: string,
): WrongSetting {
  const key = LABEL_KEYS[kind];
  const problem = label === null
    ? `${count} labels, and ${key} is null`
    : `${key} is ${show(label)}, which is none of the ${count} labels`;
  return new WrongSetting(problem, `set ${key} to one of ${listed}`);
}
