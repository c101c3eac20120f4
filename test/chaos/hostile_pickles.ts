// Attacks on a reader of pickles, made from real ones by a seed, or written by hand.
import { opcodeName, OPCODES } from "../../src/io/torch/pickle_opcodes.ts";

/** A whole number from 0 to below `below`. */
export type Random = (below: number) => number;
/** Makes a mutant; its input stays as it is. */
export type Mutation = (bytes: Uint8Array, random: Random) => Uint8Array;

/** Mulberry32: the same mutants in every run. */
export function randomOf(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

export const latin1 = (text: string) => new Uint8Array(Buffer.from(text, "latin1"));
export const concat = (...parts: Uint8Array[]) => new Uint8Array(Buffer.concat(parts));

export function insert(bytes: Uint8Array, at: number, what: Uint8Array, replaced = 0): Uint8Array {
  return concat(bytes.subarray(0, at), what, bytes.subarray(at + replaced));
}

/** What attackers write into pickles: calls by every opcode that can make one. */
export const PAYLOADS = [
  "cos\nsystem\n(X\x0b\0\0\0touch /hackedtR",
  "cposix\nsystem\nX\x02\0\0\0id\x85R",
  "cbuiltins\neval\n(X\x08\0\0\0exit(42)tR",
  "c__builtin__\nexec\n(X\x01\0\0\x001tR",
  "csubprocess\nPopen\n(X\x02\0\0\0idtR",
  "ctorch\nload\n(X\x01\0\0\0xtR",
  "ctorch.serialization\nload\n)R",
  "cbuiltins\ngetattr\n(ccollections\nOrderedDict\nX\x0c\0\0\0__subclasses__tR",
  "ccollections\nOrderedDict\n(X\x0b\0\0\0__reduce__1tR",
  "\x8c\x02os\x8c\x06system\x93(X\x02\0\0\0idtR",
  "(ios\nsystem\n",
  "(cos\nsystem\nX\x02\0\0\0ido",
  "cos\nsystem\n)\x81",
  "cos\nsystem\n)}\x92",
  "ctorch._utils\n_rebuild_tensor_v2\n}b",
  "}X\x09\0\0\0__proto__}X\x08\0\0\0pollutedK\x01ssb",
  "cconstructor\nconstructor\n)R",
  "c__proto__\ntoString\n)R",
  "P1\n",
  "\x82\x01",
  "\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
].map(latin1);

/** Operands that claim more than there is. */
const HUGE = [
  "X\xff\xff\xff\xff",
  "X\xff\xff\xff\x7f",
  "\x8d\xff\xff\xff\xff\xff\xff\xff\xff",
  "\x8a\xff",
  "\x8b\xff\xff\xff\x7f",
  "\x95\xff\xff\xff\xff\xff\xff\xff\xff",
  "J\xff\xff\xff\x7f",
  "J\0\0\0\x80",
  "r\xff\xff\xff\xff",
  "j\xff\xff\xff\xff",
  "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
].map(latin1);

export const flip: Mutation = (bytes, random) => {
  const mutant = bytes.slice();
  for (let flips = 1 + random(4); flips > 0; flips--) mutant[random(mutant.length)] ^= 1 << random(8);
  return mutant;
};
export const cut: Mutation = (bytes, random) => bytes.slice(0, random(bytes.length));
export const dropRun: Mutation = (bytes, random) => {
  const at = random(bytes.length);
  return insert(bytes, at, new Uint8Array(), 1 + random(40));
};
export const doubleRun: Mutation = (bytes, random) => {
  const at = random(bytes.length);
  return insert(bytes, at, bytes.subarray(at, at + 1 + random(200)));
};
const swapOpcodes: Mutation = (bytes, random) => {
  const opcodes = Object.values(OPCODES);
  const mutant = bytes.slice();
  for (let at = random(mutant.length), left = 1; at < mutant.length && left > 0; at++) {
    if (opcodeName(mutant[at]).length === 4) continue; // no opcode
    mutant[at] = opcodes[random(opcodes.length)];
    left--;
  }
  return mutant;
};
export const inject = (what: readonly Uint8Array[]): Mutation => (bytes, random) =>
  insert(bytes, 2 + random(bytes.length - 2), what[random(what.length)], random(2) * random(12));
/** Where values begin, so that the payload is run into, not read as text. */
const injectAtValue: Mutation = (bytes, random) => {
  const values = [...bytes.keys()].filter((at) =>
    bytes[at] === OPCODES.BINUNICODE || bytes[at] === OPCODES.GLOBAL
  );
  return insert(bytes, values[random(values.length)], PAYLOADS[random(PAYLOADS.length)]);
};

export const PICKLE_MUTATIONS = {
  flip,
  cut,
  dropRun,
  doubleRun,
  swapOpcodes,
  payload: inject(PAYLOADS),
  injectAtValue,
  huge: inject(HUGE),
};

/** Small programs that ask for much: each is legal or nearly so. */
export function bombs(): [string, Uint8Array][] {
  const repeat = (text: string, times: number) => latin1(text.repeat(times));
  const proto = latin1("\x80\x02");
  const storage = latin1("(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ");
  return [
    ["300,000 dicts", concat(proto, repeat("}", 300_000))],
    ["dicts that nothing holds", concat(proto, repeat("(}t", 300_000))],
    ["two million numbers", concat(proto, repeat("K\x01", 2_000_000))],
    ["a million open marks", concat(proto, repeat("(", 1_000_000))],
    ["a million values below three marks", concat(proto, repeat(`${"N".repeat(250_000)}(`, 4))],
    ["a million memo entries", concat(proto, latin1("}"), repeat("\x94", 1_000_000))],
    [
      "memo entries of high numbers",
      concat(proto, latin1("}"), repeat("r\xff\xff\xff\xffr\0\0\0\x80", 300_000)),
    ],
    ["tuples of tuples", concat(proto, latin1("}q\0"), repeat("h\0h\0h\0\x87q\0", 100_000))],
    ["a dict in itself", concat(proto, latin1("}q\0"), latin1("X\x01\0\0\0ah\0s."))],
    [
      "one long tuple as every shape",
      concat(
        proto,
        latin1("ctorch._utils\n_rebuild_tensor_v2\nq\x01"),
        latin1("("),
        repeat("K\x01", 300_000),
        latin1("tq\x02"),
        storage,
        latin1("q\x03"),
        repeat("h\x01(h\x03K\0h\x02h\x02\x89}tR", 50_000),
      ),
    ],
    [
      "one long tuple as every storage",
      concat(
        proto,
        latin1("("),
        repeat("K\x01", 300_000),
        latin1("tq\x02"),
        repeat("h\x02Q", 100_000),
      ),
    ],
    [
      "one large dict as every attribute",
      concat(
        proto,
        latin1("}X\x09\0\0\0_metadata}("),
        concat(...Array.from({ length: 20_000 }, (_, i) => latin1(`X\x05\0\0\0${String(i).padStart(5)}N`))),
        latin1("usq\x02}"),
        repeat("h\x02b", 200_000),
      ),
    ],
    ["a name without end", concat(proto, latin1("c"), repeat("a", 3_000_000))],
    ["names without end", concat(proto, repeat("ccollections\nOrderedDict\n", 50_000))],
    ["long strings", concat(proto, repeat(`X\0\x40\0\0${"a".repeat(16_384)}`, 400))],
    ["a long message", concat(proto, latin1(`X\0\x40\0\0${"\x01".repeat(16_384)}X\0\0\0\0\x93`))],
  ];
}
