/** Mutants of StrykerJS that no test can notice, each with the reason. */

/** An equivalent mutant of Stryker's, by what it changes. */
export interface EquivalentMutant {
  file: string;
  /** Part of the line that the mutant is in. */
  line: string;
  original: string;
  replacement: string;
  /** Why nothing that a caller could see changes. */
  reason: string;
}

const BATCH = "src/config/batch.ts";
const RNG = "src/rl/rng.ts";
const INNER_LOOP = "for (let w = 0; w < 4 && e + w < count; w++)";
const PAST_THE_END =
  "what is written past the end of a typed array is dropped, and what lies before is written again";

const ofInnerLoop = (original: string, replacement: string): EquivalentMutant => ({
  file: RNG,
  line: INNER_LOOP,
  original,
  replacement,
  reason: PAST_THE_END,
});

export const EQUIVALENT_MUTANTS: readonly EquivalentMutant[] = [
  {
    file: BATCH,
    line: "value < wanted",
    original: "value < wanted",
    replacement: "value <= wanted",
    reason: "a size that is among the divisors is no problem, so no neighbours of it are looked for",
  },
  {
    file: BATCH,
    line: "value > wanted",
    original: "value > wanted",
    replacement: "value >= wanted",
    reason: "a size that is among the divisors is no problem, so no neighbours of it are looked for",
  },
  {
    file: BATCH,
    line: "const small: number[] = [];",
    original: "[]",
    replacement: '["Stryker was here"]',
    reason: "what is no number is not >= 2, and only divisors that are go on",
  },
  {
    file: BATCH,
    line: "const large: number[] = [];",
    original: "[]",
    replacement: '["Stryker was here"]',
    reason: "what is no number is not >= 2, and only divisors that are go on",
  },
  {
    file: BATCH,
    line: "if (d * d !== n)",
    original: "d * d !== n",
    replacement: "true",
    reason: "a divisor that is listed twice has the same neighbours",
  },
  {
    file: BATCH,
    line: "if (d * d !== n)",
    original: "d * d",
    replacement: "d / d",
    reason: "a divisor that is listed twice has the same neighbours",
  },
  {
    file: BATCH,
    line: "if (config.max_steps <= 0)",
    original: "config.max_steps <= 0",
    replacement: "config.max_steps < 0",
    reason: "a configuration with max_steps 0 is refused",
  },
  {
    file: "src/config/fields.ts",
    line: "count < 1 || Number.isInteger(count)",
    original: "count < 1",
    replacement: "count <= 1",
    reason: "1 is an integer",
  },
  {
    file: "src/config/load.ts",
    line: "key.range?.[0]",
    original: "key.range?.[0]",
    replacement: "key.range[0]",
    reason: "every key that was parsed has a place; only the types do not say so",
  },
  {
    file: "src/config/load.ts",
    line: "value === null || value === undefined",
    original: "value === undefined",
    replacement: "false",
    reason: "no YAML gives undefined",
  },
  {
    file: "src/config/overrides.ts",
    line: "asYaml(typed.trim())",
    original: "typed.trim()",
    replacement: "typed",
    reason: "YAML leaves out the blanks around a scalar by itself",
  },
  {
    file: "src/rl/schedule_arguments.ts",
    line: "const isNumber",
    original: 'typeof value === "number"',
    replacement: "true",
    reason: "Number.isFinite() is false of what is no number",
  },
  {
    file: "src/rl/schedule_arguments.ts",
    line: "const isNumber",
    original: 'typeof value === "number" && Number.isFinite(value)',
    replacement: 'typeof value === "number" || Number.isFinite(value)',
    reason: "the schema has refused numbers that are not finite",
  },
  {
    file: "src/rl/loss.ts",
    line: "rows === 0 ? 0 :",
    original: "rows === 0",
    replacement: "false",
    reason: "without rows nobody reads the number of columns",
  },
  {
    file: RNG,
    line: "for (let i = count - 1; i > 0; i--)",
    original: "i > 0",
    replacement: "i >= 0",
    reason: "the first element alone changes places with itself",
  },
  {
    file: RNG,
    line: "for (let e = 0; e < count; e += 4)",
    original: "e < count",
    replacement: "e <= count",
    reason: PAST_THE_END,
  },
  ofInnerLoop("w < 4 && e + w < count", "w < 4 || e + w < count"),
  ofInnerLoop("w < 4", "true"),
  ofInnerLoop("w < 4", "w <= 4"),
  ofInnerLoop("e + w < count", "true"),
  ofInnerLoop("e + w < count", "e + w <= count"),
  ofInnerLoop("e + w", "e - w"),
  {
    file: RNG,
    line: "let order: ArrayLike<number> = [];",
    original: "[]",
    replacement: '["Stryker was here"]',
    reason: "the first slot makes the order anew",
  },
  {
    file: RNG,
    line: "if (Math.floor(slot / promptCount) !== epoch)",
    original: "Math.floor(slot / promptCount) !== epoch",
    replacement: "true",
    reason: "the order of an epoch that is made again is the same",
  },
  {
    file: RNG,
    line: "if (Math.floor(slot / promptCount) !== epoch)",
    original: "slot / promptCount",
    replacement: "slot * promptCount",
    reason: "the order of an epoch that is made again is the same",
  },
];
