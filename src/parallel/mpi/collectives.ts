/** The collectives over MPI: of arrays and of tensors, with the same bits as those of ranks in one process. */
import * as tf from "@tensorflow/tfjs";
import type { Tensor } from "@tensorflow/tfjs";
import { stageWrite } from "../../gpu/staging.ts";
import { copyWords, emptyTensor } from "../../gpu/tensors.ts";
import { reducedArrays, type Reduction } from "../collectives.ts";
import type { NumberArray, Shareable } from "../communicator.ts";
import { fromBfloat16, packTensor, toBfloat16, unpackTensor } from "../wire.ts";
import { type Exchange, type Piece, sharedPieces, wholePieces } from "./exchange.ts";
import { halvesOfArray, halvesOfTensor, type Held, type Store, storeOf } from "./store.ts";

/** Up to so many bytes of all ranks it is one exchange that counts, not what it carries. */
const SMALL_BYTES = 256 << 10;

interface Place {
  rank: number;
  size: number;
}

/** A collective that has been begun: what the GPU holds is on its way. `run` is called in turn. */
export interface Begun {
  /** The first values are here; until then a failure is this rank's own. */
  ready: Promise<unknown>;
  run(): Promise<void>;
}

/**
 * Goes through pieces, the next one's values on their way while one is exchanged.
 * @param read begins to hold a piece
 */
function inPieces<P, H>(
  pieces: readonly P[],
  read: (piece: P) => Promise<H>,
  run: (piece: P, held: H) => Promise<void>,
) {
  const begin = (k: number) => {
    const reading = k < pieces.length ? read(pieces[k]) : null;
    reading?.catch(() => {}); // told to whoever waits for it
    return reading;
  };
  const first = begin(0);
  return {
    ready: Promise.resolve(first),
    async run() {
      let next = first;
      for (let k = 0; k < pieces.length; k++) {
        const held = await next!;
        next = begin(k + 1);
        await run(pieces[k], held);
      }
    },
  } satisfies Begun;
}

/** Overwrites the values of a piece from its start. */
async function put(store: Store, range: Piece[number], values: NumberArray): Promise<void> {
  const held = await store.write([range]);
  held.values.set(values, held.offsets[0]);
  held.done();
}

/** Every rank reduces all values itself. */
function reduceWhole(exchange: Exchange, values: Shareable, size: number, reduction: Reduction): Begun {
  const store = storeOf(values);
  return inPieces(
    wholePieces(store.length, size, store.bytes),
    (range) => store.read([range]),
    async (range, held) => {
      const [at, length] = [held.offsets[0], range.end - range.start];
      const own = held.values.slice(at, at + length);
      held.done();
      const all = await exchange.fromAll(store, own);
      const parts = Array.from({ length: size }, (_, r) => all.subarray(r * length, (r + 1) * length));
      await put(store, range, reducedArrays(parts, reduction));
    },
  );
}

/** The sum of this rank's part of a piece, in rank order. */
async function sumOfPart(exchange: Exchange, store: Store, held: Held, piece: Piece, { rank, size }: Place) {
  const received = await exchange.toShares(store, held, piece);
  held.done();
  const length = piece[rank].end - piece[rank].start;
  const total = received.subarray(0, length);
  for (let r = 1; r < size; r++) {
    await exchange.add(store, received.subarray(r * length, (r + 1) * length), total);
  }
  return total;
}

/** Each rank sums its share, and all of them gather the shares. */
export function allReduce(exchange: Exchange, values: Shareable, place: Place, reduction: Reduction): Begun {
  const store = storeOf(values);
  const { rank, size } = place;
  if (reduction === "max" || store.length * store.bytes * size <= SMALL_BYTES) {
    return reduceWhole(exchange, values, size, reduction);
  }
  return inPieces(
    sharedPieces(store.length, size, store.bytes),
    (piece) => store.read(piece),
    async (piece, held) => {
      const total = await sumOfPart(exchange, store, held, piece, { rank, size });
      const whole = await store.write(piece);
      await exchange.fromShares(store, total, whole, piece);
      whole.done();
    },
  );
}

export function reduceScatterSum(exchange: Exchange, values: Shareable, place: Place): Begun {
  const store = storeOf(values);
  return inPieces(
    sharedPieces(store.length, place.size, store.bytes),
    (piece) => store.read(piece),
    async (piece, held) => {
      const total = await sumOfPart(exchange, store, held, piece, place);
      await put(store, piece[place.rank], total);
    },
  );
}

/** The sum of parts [size, length] that came as bfloat16, in rank order, put into the range of the tensor. */
async function sumOnGpu(parts: Uint16Array, { start, end }: Piece[number], tensor: Tensor, size: number) {
  const length = end - start;
  if (length === 0) return;
  // A part begins with a word.
  const words = (length + 1) >> 1;
  const packed = emptyTensor([size * words], "int32");
  const staged = await stageWrite(packed, [{ start: 0, end: size * words }]);
  const halves = new Uint16Array(
    staged.bytes.buffer as ArrayBuffer,
    staged.bytes.byteOffset,
    2 * size * words,
  );
  for (let r = 0; r < size; r++) halves.set(parts.subarray(r * length, (r + 1) * length), 2 * r * words);
  staged.done();
  tf.tidy(() => {
    const unpacked = unpackTensor(packed);
    const part = (r: number): Tensor => tf.slice(unpacked, [2 * r * words], [length]);
    let total = part(0);
    for (let r = 1; r < size; r++) total = tf.add(total, part(r));
    copyWords({ tensor: total, first: 0, count: length }, tensor, start);
  });
  packed.dispose();
}

/** As reduceScatterSum, of what every rank rounded to bfloat16. */
export function reduceScatterRounded(exchange: Exchange, values: Shareable, { rank, size }: Place): Begun {
  const isTensor = values instanceof tf.Tensor;
  const packed = isTensor ? tf.keep(packTensor(values)) : null;
  const store = isTensor
    ? halvesOfTensor(packed!, values.size)
    : halvesOfArray(toBfloat16(values as Float32Array));
  const begun = inPieces(
    sharedPieces(store.length, size, store.bytes),
    (piece) => store.read(piece),
    async (piece, held) => {
      const received = await exchange.toShares(store, held, piece);
      held.done();
      const range = piece[rank];
      if (isTensor) return await sumOnGpu(received, range, values, size);
      const length = range.end - range.start;
      const parts = Array.from(
        { length: size },
        (_, r) => fromBfloat16(received.subarray(r * length, (r + 1) * length)),
      );
      (values as Float32Array).set(reducedArrays(parts, "sum") as Float32Array, range.start);
    },
  );
  return { ready: begun.ready, run: () => begun.run().finally(() => packed?.dispose()) };
}

export function allGather(exchange: Exchange, values: Shareable, { rank, size }: Place): Begun {
  const store = storeOf(values);
  return inPieces(
    sharedPieces(store.length, size, store.bytes),
    (piece) => store.read([piece[rank]]),
    async (piece, held) => {
      const own = held.values.slice(held.offsets[0], held.offsets[0] + piece[rank].end - piece[rank].start);
      held.done();
      const whole = await store.write(piece);
      await exchange.fromShares(store, own, whole, piece);
      whole.done();
    },
  );
}

export function broadcast(exchange: Exchange, values: Shareable, root: number, { rank }: Place): Begun {
  const store = storeOf(values);
  const hold = (range: Piece[number]) => rank === root ? store.read([range]) : store.write([range]);
  return inPieces(wholePieces(store.length, 1, store.bytes), hold, async (range, held) => {
    const at = held.offsets[0];
    await exchange.fromRoot(store, held.values.subarray(at, at + range.end - range.start), root);
    held.done();
  });
}
