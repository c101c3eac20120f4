/**
 * Counter-based random numbers: Philox-4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3",
 * SC11). A draw is a pure function of where it is used, so results depend neither on the order of work, nor
 * on the micro-batch size, nor on the number of ranks, and a resumed run needs no saved generator.
 *
 * Layout (a kernel that follows it produces the same bits), all words u32:
 *
 *   key      = (seed, step)
 *   counter  = (prompt, generation, position, stream)
 *   u        = (x0 >> 8) * 2^-24        in [0, 1), exact in f32
 *
 * `step` is the optimizer step, `prompt` the prompt's slot in the step over all ranks, `generation` the
 * completion's place in its group, `position` the token's place in the completion, `stream` the purpose.
 */

export type Words4 = readonly [number, number, number, number];
export type Words2 = readonly [number, number];

/** The fourth counter word: one value per purpose keeps their draws apart. */
export const STREAM = {
  sampling: 0,
  shuffle: 1,
  minibatch: 2,
  adapter: 3,
  bootstrap: 4,
  judging: 5,
  member: 6,
  noise: 7,
} as const;

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
/** Key increments: golden ratio and sqrt(3) - 1, as 0.32 fixed point. */
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;

/** High word of the 64-bit product of two u32, from 16-bit halves as WGSL must do it too. */
export function mulHi(a: number, b: number): number {
  const aLow = a & 0xffff, aHigh = a >>> 16;
  const bLow = b & 0xffff, bHigh = b >>> 16;
  // Each sum stays below 2^32: (2^16 - 1)^2 + (2^16 - 1) < 2^32.
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const cross = aLow * bHigh + (middle & 0xffff);
  return (aHigh * bHigh + (middle >>> 16) + (cross >>> 16)) >>> 0;
}

/** Ten Philox rounds: four u32 words out of a 128-bit counter and a 64-bit key. */
export function philox4x32(counter: Words4, key: Words2): Words4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = mulHi(MULTIPLIER_0, c0), low0 = Math.imul(MULTIPLIER_0, c0) >>> 0;
    const high1 = mulHi(MULTIPLIER_1, c2), low1 = Math.imul(MULTIPLIER_1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** Which token is sampled: its place in its completion, in its group, among the prompts of the step. */
interface Draw {
  prompt: number;
  generation: number;
  position: number;
  /** Of STREAM; sampling unless given. */
  stream?: number;
}

/** The number in [0, 1), a multiple of 2^-24, that samples one token. */
export function uniform01(
  seed: number,
  step: number,
  { prompt, generation, position, stream = STREAM.sampling }: Draw,
): number {
  const [x0] = philox4x32([prompt, generation, position, stream], [seed, step]);
  return (x0 >>> 8) * 2 ** -24;
}

/**
 * A random order of 0 .. count-1: Fisher-Yates with draw i from key (seed, round) and counter (i, 0, 0, stream).
 * The index is the high word of x0 * (i + 1); bias < count / 2^32.
 *
 * @param round the epoch (STREAM.shuffle: the order of the prompts) or the optimizer step (STREAM.minibatch: the
 *   order in which a generation batch is cut into optimizer steps)
 */
export function shuffledOrder(count: number, seed: number, round: number, stream: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const [x0] = philox4x32([i, 0, 0, stream], [seed, round]);
    const j = mulHi(x0, i + 1);
    const held = order[i]!;
    order[i] = order[j]!;
    order[j] = held;
  }
  return order;
}

/**
 * Start values of a weight: f32, uniform in [-bound, bound). Element e is word e % 4 of the draw with key (seed, 0)
 * and counter (floor(e / 4), 0, weight, STREAM.adapter), as u = (x >> 8) * 2^-24.
 *
 * @param weight the weight's place among those that are drawn
 */
export function uniformWeights(count: number, bound: number, seed: number, weight: number): Float32Array {
  const values = new Float32Array(count);
  for (let e = 0; e < count; e += 4) {
    const words = philox4x32([e / 4, 0, weight, STREAM.adapter], [seed, 0]);
    for (let w = 0; w < 4 && e + w < count; w++) {
      values[e + w] = ((words[w]! >>> 8) * 2 ** -23 - 1) * bound;
    }
  }
  return values;
}

/**
 * Standard normal noise of an element of a weight, by Box and Muller: of words (x0, x1, x2, x3) with key (seed, 0) and
 * counter (floor(e / 4), tensor, 0, STREAM.noise), elements 4k and 4k + 1 are r cos(t) and r sin(t) with
 * r = sqrt(-2 ln(((x0 >> 8) + 1) 2^-24)) and t = 2 pi (x1 >> 8) 2^-24; the next two come of x2 and x3 likewise.
 *
 * @param tensor tells tensors apart that are to have noise of their own
 */
export function normalNoise(seed: number, tensor: number, element: number): number {
  const words = philox4x32([Math.floor(element / 4), tensor, 0, STREAM.noise], [seed, 0]);
  const [x, y] = element % 4 < 2 ? [words[0], words[1]] : [words[2], words[3]];
  const radius = Math.sqrt(-2 * Math.log(((x >>> 8) + 1) * 2 ** -24));
  const angle = 2 * Math.PI * (y >>> 8) * 2 ** -24;
  return radius * (element % 2 === 0 ? Math.cos(angle) : Math.sin(angle));
}

/** Prompts of the run laid end to end, epoch after epoch, each in its own order. */
interface PromptOrder {
  promptCount: number;
  promptsPerGeneration: number;
  seed: number;
}

/**
 * Indices of the prompts of generation batch `batch` (0 = the first). Each epoch visits every prompt once; a batch
 * that crosses the end of an epoch goes on with the next one, so no prompt is dropped.
 *
 * @throws RangeError when there are no prompts
 */
export function promptsOfGeneration(
  batch: number,
  { promptCount, promptsPerGeneration, seed }: PromptOrder,
): number[] {
  if (promptCount < 1) {
    throw new RangeError(`Cannot draw prompts: need at least 1 training prompt, got ${promptCount}`);
  }
  const indices: number[] = [];
  let epoch = -1;
  let order: ArrayLike<number> = [];
  for (let slot = batch * promptsPerGeneration; slot < (batch + 1) * promptsPerGeneration; slot++) {
    if (Math.floor(slot / promptCount) !== epoch) {
      epoch = Math.floor(slot / promptCount);
      order = shuffledOrder(promptCount, seed, epoch, STREAM.shuffle);
    }
    indices.push(order[slot % promptCount]!);
  }
  return indices;
}
