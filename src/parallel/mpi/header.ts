/** What ranks tell each other before each collective, so that no two of them are in different ones. */
import * as tf from "@tensorflow/tfjs";
import type { Shareable, Wire } from "../communicator.ts";

const NAMES = [
  "allReduceSum",
  "allReduceMax",
  "reduceScatterSum",
  "allGather",
  "broadcast",
  "barrier",
  "close",
  "leave",
] as const;
const KINDS = ["nothing", "Float32Array", "Float64Array", "Int32Array", "float32", "int32"] as const;
const WIRES: readonly Wire[] = ["float32", "bfloat16"];

/** What a rank asks for. */
export interface Asked {
  name: (typeof NAMES)[number];
  kind: (typeof KINDS)[number];
  /** Number of values; of one that leaves: bytes of its reason. */
  length: number;
  /** Of a broadcast. */
  root: number;
  wire: Wire;
}

/** Float64 values of one. */
const HEADER_LENGTH = 8;

/** @throws TypeError when the values are of a kind that is not shared */
export function asked(name: Asked["name"], values: Shareable | null, more: Partial<Asked> = {}): Asked {
  const own = values === null
    ? "nothing"
    : values instanceof tf.Tensor
    ? values.dtype
    : values.constructor.name;
  const kind = KINDS.find((known) => known === own);
  if (!kind) {
    throw new TypeError(`Cannot share values of ${own} between ranks: need ${KINDS.slice(1).join(", ")}`);
  }
  const length = values === null ? 0 : values instanceof tf.Tensor ? values.size : values.length;
  return { name, kind, length, root: 0, wire: "float32", ...more };
}

export function headerOf({ name, kind, length, root, wire }: Asked): Float64Array {
  const header = new Float64Array(HEADER_LENGTH);
  header.set([NAMES.indexOf(name), KINDS.indexOf(kind), length, root, WIRES.indexOf(wire)]);
  return header;
}

export function askedBy(headers: Float64Array, rank: number): Asked {
  const [name, kind, length, root, wire] = headers.subarray(rank * HEADER_LENGTH);
  return { name: NAMES[name], kind: KINDS[kind], length, root, wire: WIRES[wire] };
}

/** As a message names it; what is not the same in it is not the same collective. */
export function textOf({ name, kind, length, root, wire }: Asked): string {
  const call = name === "close"
    ? "the end of the run"
    : name === "broadcast"
    ? `broadcast from rank ${root}`
    : name === "reduceScatterSum"
    ? `${name} by ${wire}`
    : name;
  if (kind === "nothing") return call;
  const values = kind.endsWith("Array")
    ? `${kind} of ${length} values`
    : `a tensor of ${length} ${kind} values`;
  return `${call} with ${values}`;
}
