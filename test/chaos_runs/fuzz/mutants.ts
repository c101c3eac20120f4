// Files as they may come out of a broken disk, a cut download, a careless editor or an attacker's hand: made from real
// ones by a seed, so that every mutant can be made again.
import { concat, insert, type Mutation, type Random } from "../../chaos/hostile_pickles.ts";

const encode = (text: string) => new TextEncoder().encode(text);
const pick = <T>(from: readonly T[], random: Random): T => from[random(from.length)];

/** What numbers in files claim when they lie, as bytes of any width. */
const INTEGERS = [0, 1, -1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fffffff, -0x80000000, 0x7fffff00];

/** What texts of every kind trip over. */
const TOKENS = [
  "\0",
  "\u001b]0;owned\u0007\u001b[2J",
  "\u202e\u2066\u009b31m",
  "\ufeff",
  "\ud7ff\uffff",
  "\r\n\r\n",
  "null",
  "true",
  "NaN",
  "-Infinity",
  "1e999",
  "-0",
  "18446744073709551616",
  "__proto__",
  "constructor",
  "toString",
  "[".repeat(500),
  '{"a":'.repeat(300),
  "[[[[[]]]]]",
  "x".repeat(3000),
  "version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n",
  "PAR1",
  "\u001f\u008b\b",
].map(encode);

/** Values in the place of others. */
const VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  0.5,
  1e308,
  2 ** 53,
  -(2 ** 31),
  "",
  "0",
  "\u001b[31m\n",
  "__proto__",
  [],
  [[]],
  {},
  [null],
  { "": null },
  "x".repeat(2000),
  Array.from({ length: 300 }, () => 1),
];

function deep(levels: number): unknown {
  let value: unknown = 0;
  for (let i = 0; i < levels; i++) value = i % 2 === 0 ? [value] : { a: value };
  return value;
}

const flipBits: Mutation = (bytes, random) => {
  const mutant = bytes.slice();
  for (let flips = 1 + random(6); flips > 0 && mutant.length > 0; flips--) {
    mutant[random(mutant.length)] ^= 1 << random(8);
  }
  return mutant;
};
const truncate: Mutation = (bytes, random) => bytes.slice(0, random(bytes.length + 1));
const cutFront: Mutation = (bytes, random) => bytes.slice(random(Math.min(64, bytes.length) + 1));
const dropRun: Mutation = (bytes, random) => {
  const at = random(bytes.length + 1);
  return concat(bytes.subarray(0, at), bytes.subarray(at + 1 + random(64)));
};
const doubleRun: Mutation = (bytes, random) => {
  const at = random(bytes.length + 1);
  return insert(bytes, at, bytes.subarray(at, at + 1 + random(256)));
};
const addToken: Mutation = (bytes, random) =>
  insert(bytes, random(bytes.length + 1), pick(TOKENS, random), random(3) * random(16));
const setInteger: Mutation = (bytes, random) => {
  const width = pick([1, 2, 4, 8], random);
  const value = new DataView(new ArrayBuffer(8));
  value.setBigInt64(0, BigInt(pick(INTEGERS, random)), random(2) === 0);
  // Lengths stand at both ends of a file.
  const at = random(3) === 0
    ? random(bytes.length + 1)
    : random(2) === 0
    ? random(Math.min(64, bytes.length + 1))
    : bytes.length - random(Math.min(64, bytes.length + 1));
  return insert(bytes, Math.max(0, at), new Uint8Array(value.buffer).subarray(0, width), width);
};

/** Runs of two files behind each other. */
const spliceWith = (other: Uint8Array): Mutation => (bytes, random) =>
  concat(bytes.subarray(0, random(bytes.length + 1)), other.subarray(random(other.length + 1)));

/** Changes one value of a JSON text somewhere, or its key, keeping it JSON. */
const changeJson: Mutation = (bytes, random) => {
  let root: { json: unknown };
  try {
    root = { json: JSON.parse(new TextDecoder().decode(bytes)) };
  } catch {
    return flipBits(bytes, random);
  }
  const places: [holder: Record<string, unknown>, key: string][] = [];
  const walk = (holder: Record<string, unknown>): void => {
    for (const key of Object.keys(holder)) {
      if (places.length > 5000) return;
      places.push([holder, key]);
      const value = holder[key];
      if (typeof value === "object" && value !== null) walk(value as Record<string, unknown>);
    }
  };
  walk(root);
  // The outer ones, which most depends on, are met more often.
  const [holder, key] = places[random(1 + random(places.length))];
  const kind = random(8);
  if (kind === 0) delete holder[key];
  else if (kind === 1 && !Array.isArray(holder)) {
    holder[pick(["__proto__x", "", "a\u001b[2Jb", key.toUpperCase(), "length"], random)] = holder[key];
  } else if (kind === 2) holder[key] = deep(pick([10, 150, 250, 5000], random));
  else if (kind === 3) holder[key] = pick(places, random)[0] === root ? [] : String(holder[key]);
  else if (kind === 4) holder[key] = [holder[key]];
  else holder[key] = pick(VALUES, random);
  return encode(JSON.stringify(root.json) ?? "null");
};

/** One line of a text changed as JSON, the others left. */
const changeLine: Mutation = (bytes, random) => {
  const lines = new TextDecoder().decode(bytes).split("\n");
  const at = random(lines.length);
  lines[at] = new TextDecoder().decode(changeJson(encode(lines[at]), random));
  return encode(lines.join("\n"));
};

/** One line of YAML doubled, moved, given a tag, an anchor or another value. */
const changeYaml: Mutation = (bytes, random) => {
  const lines = new TextDecoder().decode(bytes).split("\n");
  const at = random(lines.length);
  const key = lines[at].split(":")[0];
  lines[at] = pick([
    `${lines[at]}\n${lines[at]}`,
    `  ${lines[at]}`,
    `${key}: ${JSON.stringify(pick(VALUES, random))}`,
    `${key}: &a [*a]`,
    `${key}: *b`,
    `? ${key}\n: 5`,
    `? [${key}, x]\n: {? {a: 1} : 2}`,
    `${key}: !!binary aGk=`,
    `${key}: !!js/function 'x'`,
    `<<: {${key}: 1}`,
    `${key}: {? [a, b] : 1}`,
    `"${key}\\e[2J\\n": 1`,
    `${key}: |\n  a\n b\n`,
    `${key}: ${"[".repeat(pick([50, 400, 4000], random))}`,
    `--- ${key}`,
    `%YAML 9.9\n${lines[at]}`,
    `${key}: 2001-01-01`,
    `${key}: 0x7fffffffffffffffff`,
    `${key}: .nan`,
  ], random);
  return encode(lines.join("\n"));
};

export type Shape = "bytes" | "json" | "lines" | "yaml";

const STRUCTURE: Readonly<Record<Shape, readonly Mutation[]>> = {
  bytes: [setInteger, setInteger, setInteger],
  json: [changeJson, changeJson, changeJson, changeJson],
  lines: [changeLine, changeLine, changeLine],
  yaml: [changeYaml, changeYaml, changeYaml, changeYaml],
};

/** A mutant of one of the seeds. */
export function mutantOf(seeds: readonly Uint8Array[], shape: Shape, random: Random): Uint8Array {
  let mutant = pick(seeds, random);
  const plain = [flipBits, truncate, cutFront, dropRun, doubleRun, addToken, spliceWith(pick(seeds, random))];
  for (let changes = 1 + random(3); changes > 0; changes--) {
    mutant = pick([...plain, ...STRUCTURE[shape]], random)(mutant, random);
  }
  return mutant;
}
