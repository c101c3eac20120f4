/**
 * What a kernel does, for the cost model (model.ts): declared by hand, kernel by kernel, in work/<family>.ts, from what
 * a recorded dispatch says of its call. Whoever adds or reshapes a kernel writes down what its text does; the model has
 * one rule for all of them and no factor for any.
 *
 * A Work describes one dispatch. `chain` is a workgroup's way from its first line to its last, of one that has the mean
 * to do: steps, each done `times` times, one after the other. In a step every lane issues `instructions` (an fma of a
 * vec4 is four, a load or store of a vec4 one and its index about two, an exp eight) and waits for `memory` or `cache`
 * loads that nothing hides: rounds of loads that depend on each other count each, loads that are under way together
 * count once. What a step has asked for before it computes, for the step after it (slabs in two buffers), is `ahead`:
 * then the step takes as long as the longer of the two.
 *
 * For example, of a kernel that copies rows, 64 lanes a workgroup, four vec4s a lane, one after the other:
 *
 *   copy_rows: ({ call, workgroups }) => ({
 *     workgroups: gridOf(workgroups),
 *     lanes: call.constants.WG,
 *     chain: [{ times: 4, instructions: 8, memory: 1, wavefronts: 2 * spread(call.constants.WG, 16) }],
 *     memoryBytes: boundBytes(call),    // each operand once
 *     cacheBytes: boundBytes(call),     // all that workgroups load and store, however often
 *   }),
 *
 * A product on matrix units has `matrixFlops` in its steps. One that matrix units could do, on whatever it runs, says
 * so in `products`, since the floor that it is held against is theirs.
 */
import type { CallFacts } from "../../src/gpu/backend.ts";

/** A kernel's call as it was recorded. */
export interface Called {
  readonly call: CallFacts;
  readonly workgroups: readonly [number, number, number];
}

/** What no dispatch says, since it lies in buffers: whom the tokens see. */
export interface Seen {
  /** Tokens of each sequence that a pass goes over, those of a shared beginning not counted. */
  sequence: number;
  /** Tokens of the beginning that sequences share, seen before their own; 0: none. */
  prefix: number;
  /** Sequences of the pass that share one beginning. */
  readers: number;
  /** Decoding: tokens that a row sees, its prompt and the newest counted. */
  held: number;
  /** Decoding: of these, tokens of the prompt, and the rows that share it. */
  prompt: number;
  group: number;
}

/** A part of a workgroup's way, done `times` times over. */
export interface Step {
  times: number;
  /** Of each lane. */
  instructions: number;
  /** Loads and stores of a workgroup in 128-byte wavefronts, or banks' turns: what the memory path of a core takes. */
  wavefronts?: number;
  /** Operations on matrix units, of a workgroup. */
  matrixFlops?: number;
  /** Loads from memory that it waits for with nothing else to do. */
  memory?: number;
  /** Loads that it waits for which a cache holds, of what was just written or is read by all. */
  cache?: number;
  /** Loads from memory that are under way while it computes; 1 or none. */
  ahead?: number;
  /** Loads from workgroup memory, or results of long instructions, that it waits for. */
  shared?: number;
  barriers?: number;
}

export interface Work {
  /** Workgroups that have something to do. */
  workgroups: number;
  /** Of a workgroup. */
  lanes: number;
  /** Of a lane; 40 unless given. */
  registers?: number;
  /** Of workgroup memory, of a workgroup. */
  workgroupBytes?: number;
  chain: readonly Step[];
  /** The longest chain as a multiple of the mean one; 1 unless given. */
  longest?: number;
  /** Of memory, each byte once. */
  memoryBytes: number;
  /**
   * Of these, what the kernel before wrote or the next will read: activations. Where a kernel touches no more than half
   * of the shared cache, it finds them there. None unless given.
   */
  freshBytes?: number;
  /** Between shared cache and cores: each load and store of each workgroup that its core's own cache does not hold. */
  cacheBytes: number;
  /** Operations that cannot be spared, of products of matrices: what matrix units could do. */
  products?: number;
  /** Other operations that cannot be spared. */
  flops?: number;
}

export type WorkOf = (called: Called, seen: Seen) => Work;

export const gridOf = ([x, y, z]: readonly [number, number, number]) => x * y * z;

/** Bytes of a call's bindings: all, or those named. */
export function boundBytes({ bytes }: CallFacts, names: readonly string[] = Object.keys(bytes)): number {
  return names.reduce((sum, name) => sum + (bytes[name] ?? 0), 0);
}

/** Bytes of a value by its FORMAT: 0 is f32, others are 16 bits wide. */
export const valueBytes = (format: number) => format === 0 ? 4 : 2;

/** Wavefronts of a workgroup's load or store of neighbouring `bytes` by each lane. */
export const spread = (lanes: number, bytes: number) => Math.max(1, lanes * bytes / 128);

/** Values that a lane of a kernel takes at once. */
export const vectorOf = ({ conditions }: CallFacts) => conditions.VEC4 ? 4 : 1;
