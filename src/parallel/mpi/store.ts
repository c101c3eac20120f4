/** Where the values of a collective lie, as memory that MPI reads and writes: a typed array, or a tensor on the GPU. */
import type { Tensor } from "@tensorflow/tfjs";
import { stageRead, stageWrite } from "../../gpu/staging.ts";
import type { NumberArray, Share, Shareable } from "../communicator.ts";
import type { Handles } from "./handles.ts";

/** Ranges of values in memory: range r begins at element `offsets[r]` of `values`. */
export interface Held<A extends NumberArray | Uint16Array = NumberArray> {
  values: A;
  offsets: number[];
  /** Gives the memory back; what was held to be written is then in its place. */
  done(): void;
}

export interface Store<A extends NumberArray | Uint16Array = NumberArray> {
  length: number;
  /** Of an element on its way. */
  bytes: number;
  /** MPI's name for an element, and how many of those it is. */
  type: keyof Handles & ("float" | "double" | "int" | "byte");
  units: number;
  /** An array of them over memory. */
  over(memory: ArrayBuffer, length: number): A;
  /** Begun when it is called: what is queued for the GPU later is not waited for. */
  read(ranges: readonly Share[]): Promise<Held<A>>;
  write(ranges: readonly Share[]): Promise<Held<A>>;
}

/** Where each range begins when they lie one behind the other. */
export function packedOffsets(ranges: readonly Share[]): number[] {
  let at = 0;
  return ranges.map(({ start, end }) => (at += end - start) - (end - start));
}

function arrayStore(values: NumberArray): Store {
  const kind = values.constructor as new (memory: ArrayBuffer, at: number, length: number) => NumberArray;
  const held = (ranges: readonly Share[]): Promise<Held> =>
    Promise.resolve({ values, offsets: ranges.map(({ start }) => start), done() {} });
  return {
    length: values.length,
    bytes: values.BYTES_PER_ELEMENT,
    type: values instanceof Float32Array ? "float" : values instanceof Float64Array ? "double" : "int",
    units: 1,
    over: (memory, length) => new kind(memory, 0, length),
    read: held,
    write: held,
  };
}

function tensorStore(tensor: Tensor): Store {
  const kind = tensor.dtype === "int32" ? Int32Array : Float32Array;
  const staged = (stage: typeof stageRead) => async (ranges: readonly Share[]): Promise<Held> => {
    const { bytes, done } = await stage(tensor, ranges);
    const values = new kind(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length / 4);
    return { values, offsets: packedOffsets(ranges), done };
  };
  return {
    length: tensor.size,
    bytes: 4,
    type: kind === Int32Array ? "int" : "float",
    units: 1,
    over: (memory, length) => new kind(memory, 0, length),
    read: staged(stageRead),
    write: staged(stageWrite),
  };
}

export function storeOf(values: Shareable): Store {
  return ArrayBuffer.isView(values) ? arrayStore(values as NumberArray) : tensorStore(values as Tensor);
}

/** @param bits of bfloat16, to be read only */
export function halvesOfArray(bits: Uint16Array): Store<Uint16Array> {
  const read = (ranges: readonly Share[]) =>
    Promise.resolve({ values: bits, offsets: ranges.map(({ start }) => start), done() {} });
  return { ...HALVES, length: bits.length, read, write: read };
}

/** @param packed int32, two bfloat16 to a word, to be read only; holds `length` of them */
export function halvesOfTensor(packed: Tensor, length: number): Store<Uint16Array> {
  const read = async (ranges: readonly Share[]): Promise<Held<Uint16Array>> => {
    // Ranges of whole words: one that begins in the middle of a word is held with what stands before it.
    const words = ranges.map(({ start, end }) => ({ start: start >> 1, end: (end + 1) >> 1 }));
    const { bytes, done } = await stageRead(packed, words);
    const values = new Uint16Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length / 2);
    return { values, offsets: packedOffsets(words).map((at, r) => 2 * at + (ranges[r].start & 1)), done };
  };
  return { ...HALVES, length, read, write: read };
}

const HALVES = {
  bytes: 2,
  type: "byte" as const,
  units: 2,
  over: (memory: ArrayBuffer, length: number) => new Uint16Array(memory, 0, length),
};
