/**
 * Conditions on the fields of a record, as `cost > 0 && completion ~ 'bomb'`. Read once, then asked of each record;
 * nothing in them is run as a program.
 *
 *     any        = all { "||" all }
 *     all        = one { "&&" one }
 *     one        = "!" one | "(" any ")" | value ("==" | "!=" | "<" | "<=" | ">" | ">=") value | value "~" text
 *     value      = number | text in quotes, single or double | null | field
 */
import { nearestName } from "../config/unknown_key.ts";

/** What a field can hold; one that is not there is null. */
export type FieldValue = number | string | null;
export type FieldKind = "number" | "text";
export type Fields = Readonly<Record<string, FieldValue>>;
export type Condition = (fields: Fields) => boolean;

interface Token {
  kind: "number" | "text" | "name" | "sign" | "end";
  text: string;
  /** Of its first character. */
  at: number;
}

const TOKEN = new RegExp(
  "\\s*(?:" + [
    /(?<number>-?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)/,
    /(?<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")/,
    /(?<name>[\p{L}_][\p{L}\p{N}_./]*)/u,
    /(?<sign>&&|\|\||[=!<>]=|[<>!~()])/,
  ].map(({ source }) => source).join("|") + ")",
  "uy",
);

const COMPARISONS: Readonly<Record<string, (order: number) => boolean>> = {
  "==": (order) => order === 0,
  "!=": (order) => order !== 0,
  "<": (order) => order < 0,
  "<=": (order) => order <= 0,
  ">": (order) => order > 0,
  ">=": (order) => order >= 0,
};

/** A value that is read of the fields, and what it can be. */
interface Operand {
  kind: FieldKind | "null";
  read: (fields: Fields) => FieldValue;
  token: Token;
}

/** @throws RangeError when a character begins nothing that is known */
function tokensOf(text: string): Token[] {
  const tokens: Token[] = [];
  const end = text.trimEnd().length;
  let at = 0;
  while (at < end) {
    TOKEN.lastIndex = at;
    const groups = TOKEN.exec(text)?.groups;
    const [kind, found] = Object.entries(groups ?? {}).find(([, found]) => found !== undefined) ?? [];
    if (found === undefined) {
      const first = at + text.slice(at).search(/\S/);
      const isQuote = /['"]/.test(text[first]);
      const found = isQuote ? "a text whose quote is not closed" : `"${text[first]}"`;
      throw problem(text, first, "a field, a number, a text in quotes or an operator", found);
    }
    at = TOKEN.lastIndex;
    tokens.push({ kind: kind as Token["kind"], text: found, at: at - found.length });
  }
  return [...tokens, { kind: "end", text: "", at: end }];
}

function problem(text: string, at: number, required: string, found: string): RangeError {
  const line = text.replace(/\s/g, " ");
  return new RangeError(
    `Cannot read the condition: required ${required}, found ${found} at character ${at + 1}:\n` +
      `  ${line}\n  ${" ".repeat(at)}^`,
  );
}

class Parser {
  readonly #text: string;
  readonly #kinds: Readonly<Record<string, FieldKind>>;
  readonly #tokens: readonly Token[];
  #next = 0;

  constructor(text: string, kinds: Readonly<Record<string, FieldKind>>) {
    this.#text = text;
    this.#kinds = kinds;
    this.#tokens = tokensOf(text);
  }

  whole(): Condition {
    const condition = this.#any();
    if (this.#token.kind !== "end") this.#fail("&&, || or the end");
    return condition;
  }

  get #token(): Token {
    return this.#tokens[this.#next];
  }

  #take(...signs: readonly string[]): Token | null {
    const token = this.#token;
    if (token.kind !== "sign" || !signs.includes(token.text)) return null;
    this.#next++;
    return token;
  }

  #fail(required: string, token = this.#token): never {
    const found = token.kind === "end" ? "the end" : token.kind === "text" ? token.text : `"${token.text}"`;
    throw problem(this.#text, token.at, required, found);
  }

  #any(): Condition {
    const parts = [this.#all()];
    while (this.#take("||")) parts.push(this.#all());
    return parts.length === 1 ? parts[0] : (fields) => parts.some((part) => part(fields));
  }

  #all(): Condition {
    const parts = [this.#one()];
    while (this.#take("&&")) parts.push(this.#one());
    return parts.length === 1 ? parts[0] : (fields) => parts.every((part) => part(fields));
  }

  #one(): Condition {
    if (this.#take("!")) {
      const negated = this.#one();
      return (fields) => !negated(fields);
    }
    if (this.#take("(")) {
      const inner = this.#any();
      if (!this.#take(")")) this.#fail('")"');
      return inner;
    }
    return this.#comparison();
  }

  #comparison(): Condition {
    const left = this.#operand();
    const sign = this.#take(...Object.keys(COMPARISONS), "~") ?? this.#fail("==, !=, <, <=, >, >= or ~");
    if (sign.text === "~") return this.#match(left);
    const right = this.#operand();
    const isEquality = sign.text === "==" || sign.text === "!=";
    if (left.kind === "null" || right.kind === "null") {
      if (!isEquality) this.#fail("== or != beside null", sign);
    } else if (left.kind !== right.kind) {
      this.#fail(`a ${left.kind} to compare with ${left.token.text}`, right.token);
    }
    const holds = COMPARISONS[sign.text];
    return (fields) => {
      const [one, other] = [left.read(fields), right.read(fields)];
      // A score that was not given is neither more nor less than another.
      if (one === null || other === null) return isEquality && holds(one === other ? 0 : 1);
      return holds(one < other ? -1 : one > other ? 1 : 0);
    };
  }

  #match(left: Operand): Condition {
    if (left.kind !== "text") this.#fail("a text before ~", left.token);
    const token = this.#token;
    if (token.kind !== "text") this.#fail("a regular expression in quotes");
    this.#next++;
    let pattern: RegExp;
    try {
      pattern = new RegExp(token.text.slice(1, -1).replace(/\\(['"])/g, "$1"), "u");
    } catch (error) {
      throw problem(this.#text, token.at, "a regular expression", (error as Error).message);
    }
    return (fields) => {
      const value = left.read(fields);
      return value !== null && pattern.test(String(value));
    };
  }

  #operand(): Operand {
    const token = this.#token;
    if (token.kind === "end" || token.kind === "sign") this.#fail("a field, a number or a text in quotes");
    this.#next++;
    if (token.kind === "number") return { kind: "number", read: () => Number(token.text), token };
    if (token.kind === "text") {
      const value = token.text.slice(1, -1).replace(/\\(.)/gsu, "$1");
      return { kind: "text", read: () => value, token };
    }
    if (token.text === "null") return { kind: "null", read: () => null, token };
    const kind = Object.hasOwn(this.#kinds, token.text) ? this.#kinds[token.text] : null;
    return { kind: kind ?? this.#unknown(token), read: (fields) => fields[token.text] ?? null, token };
  }

  #unknown(token: Token): never {
    const names = Object.keys(this.#kinds);
    const nearest = nearestName(token.text, names);
    this.#fail(`a field (${names.join(", ")}${nearest ? `; did you mean ${nearest}?` : ""})`, token);
  }
}

/**
 * @param kinds of the fields that there are
 * @throws RangeError when the text is no such condition; it names the place
 */
export function parseCondition(text: string, kinds: Readonly<Record<string, FieldKind>>): Condition {
  return new Parser(text, kinds).whole();
}
