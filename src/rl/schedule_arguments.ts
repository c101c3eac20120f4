/** What an argument of a learning-rate schedule may be. */

/** One argument of `lr_scheduler_kwargs`: what it must be, in words, and whether a value is that. */
export interface Argument {
  requirement: string;
  accepts(value: unknown): boolean;
}

const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);

export const positive: Argument = {
  requirement: "a number > 0",
  accepts: (value) => isNumber(value) && value > 0,
};
export const notNegative: Argument = {
  requirement: "a number >= 0",
  accepts: (value) => isNumber(value) && value >= 0,
};
export const count: Argument = {
  requirement: "an integer >= 0",
  accepts: (value) => Number.isInteger(value) && (value as number) >= 0,
};
export const share: Argument = {
  requirement: "a number >= 0 and <= 1",
  accepts: (value) => isNumber(value) && value >= 0 && value <= 1,
};
const SHAPES: readonly unknown[] = ["linear", "cosine", "1-sqrt"];
export const shape: Argument = {
  requirement: 'one of "linear", "cosine", "1-sqrt"',
  accepts: (value) => SHAPES.includes(value),
};
