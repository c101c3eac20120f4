// A chat template is a program of somebody else's: it is followed so far, and no further.

import { Environment, Interpreter, type parse } from "@huggingface/jinja";

type Program = ReturnType<typeof parse>;

/** A conversation of a thousand turns takes some hundred thousand. */
const MAX_EVALUATIONS = 500_000;
/** Characters of a text, or items of a list. */
const MAX_LENGTH = 2 ** 24;

/** What is used of an interpreter; the package's own types lead nowhere. */
interface Followed {
  run(program: Program): { value: unknown };
  /** Of every statement and expression, the innermost too. */
  evaluate(statement: unknown, environment: Environment): { value: unknown };
}

class BoundedInterpreter extends (Interpreter as unknown as new (environment: Environment) => Followed) {
  #evaluations = 0;

  override evaluate(statement: unknown, environment: Environment): { value: unknown } {
    if (++this.#evaluations > MAX_EVALUATIONS) {
      throw new RangeError(`it takes more than ${MAX_EVALUATIONS} steps; are its loops bounded?`);
    }
    const result = super.evaluate(statement, environment);
    const { value } = result;
    if ((typeof value === "string" || Array.isArray(value)) && value.length > MAX_LENGTH) {
      throw new RangeError(`a text or list in it is longer than ${MAX_LENGTH}`);
    }
    return result;
  }
}

/**
 * The text that a template makes.
 * @throws RangeError when it takes too many steps, or makes too long a text on its way
 * @throws what a function among the variables throws
 */
export function boundedRun(program: Program, variables: Readonly<Record<string, unknown>>): string {
  const environment = new Environment();
  for (const [name, value] of Object.entries(variables)) environment.set(name, value);
  return String(new BoundedInterpreter(environment).run(program).value);
}
