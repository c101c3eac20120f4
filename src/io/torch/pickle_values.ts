// What a pickle of weights can hold. Everything is plain data: no value has a method, and dicts are Maps, so that no
// key means anything to JavaScript.

export interface PickleTuple {
  readonly kind: "tuple";
  readonly items: readonly PickleValue[];
}

export interface PickleDict {
  readonly kind: "dict";
  readonly entries: Map<string, PickleValue>;
}

/** A name that the caller allowed, as `GLOBAL` pushes it. */
export interface PickleGlobal {
  readonly kind: "global";
  /** Module and name with a blank between. */
  readonly name: string;
}

/** What the caller's functions made; opaque to the machine. */
export interface PickleObject {
  readonly kind: "object";
}

export type PickleValue =
  | null
  | boolean
  | number
  | string
  | PickleTuple
  | PickleDict
  | PickleGlobal
  | PickleObject;

/** Makes the error for a problem at the present opcode. */
export type Fail = (problem: string) => Error;

/** What names mean. Each function throws `fail(problem)` for what it does not accept. */
export interface PickleNames {
  isAllowed(name: string): boolean;
  call(callable: PickleGlobal, args: readonly PickleValue[], fail: Fail): PickleValue;
  persistent(id: PickleValue, fail: Fail): PickleObject;
  /** Judges the attributes that a pickle gives to an object; nothing is set. */
  build(target: PickleValue, state: PickleValue, fail: Fail): void;
}

type Kinded = Exclude<PickleValue, null | boolean | number | string>;

export function isKind<K extends Kinded["kind"]>(
  value: PickleValue,
  kind: K,
): value is Extract<Kinded, { kind: K }> {
  return typeof value === "object" && value !== null && value.kind === kind;
}

/** A value in an error's words, short. */
export function describe(value: PickleValue): string {
  if (typeof value === "string") {
    return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  }
  if (typeof value !== "object" || value === null) return String(value);
  if (value.kind === "global") return `the name ${describe(value.name)}`;
  return value.kind === "object" ? "a storage or tensor" : `a ${value.kind}`;
}
