/** The collectives of MPI that a communicator is made of, over memory, in pieces that a count of 32 bits can name. */
import { type NumberArray, type Share, shareOf } from "../communicator.ts";
import type { Held, Store } from "./store.ts";
import type { World } from "./world.ts";

/** What one call of MPI exchanges at the most, of all ranks together. */
const PIECE_BYTES = 64 << 20;

/** Ranges of one piece, by rank: what each of them is to sum or gives. */
export type Piece = Share[];

const lengthOf = ({ start, end }: Share) => end - start;

/** Each rank's share of `length` values, cut into pieces: in each a part of every rank's share. */
export function sharedPieces(length: number, size: number, bytes: number): Piece[] {
  const shares = Array.from({ length: size }, (_, rank) => shareOf(length, rank, size));
  const most = Math.max(1, Math.floor(PIECE_BYTES / (bytes * size)));
  return Array.from(
    { length: Math.ceil(lengthOf(shares[0]) / most) },
    (_, k) =>
      shares.map(({ start, end }) => {
        const from = Math.min(start + k * most, end);
        return { start: from, end: Math.min(from + most, end) };
      }),
  );
}

/** All of `length` values in pieces, of which `copies` fit into what is exchanged at once. */
export function wholePieces(length: number, copies: number, bytes: number): Share[] {
  const most = Math.max(1, Math.floor(PIECE_BYTES / (bytes * copies)));
  return Array.from({ length: Math.ceil(length / most) }, (_, k) => ({
    start: k * most,
    end: Math.min((k + 1) * most, length),
  }));
}

type Values = NumberArray | Uint16Array;
type Element = Pick<Store, "type" | "units">;

export interface Exchange {
  /** @returns the values that every rank has for this one, in rank order; until the next exchange */
  toShares<A extends Values>(store: Store<A>, held: Held<A>, piece: Piece): Promise<A>;
  /** Lays the ranks' values into `held`, each at its range. @param own this rank's */
  fromShares(element: Element, own: Values, held: Held, piece: Piece): Promise<void>;
  /** @returns `own` of every rank, in rank order; until the next exchange */
  fromAll(store: Store, own: Values): Promise<Held["values"]>;
  fromRoot(element: Element, values: Values, root: number): Promise<void>;
  /** total = total + values, in C. */
  add(element: Element, values: Values, total: Values): Promise<void>;
  bytesSent(): number;
}

/** @param world calls are made one after the other */
export function exchangeOver({ call, rank, size, library }: World): Exchange {
  const { handles } = library;
  let bytesSent = 0;
  const handleOf = ({ type }: Element) => handles[type];
  const counts = (numbers: number[], units: number) => Int32Array.from(numbers, (count) => count * units);
  const others = size - 1;
  let scratch = new ArrayBuffer(0);
  /** Memory for what is received, the same for every call: new pages would cost as much as the exchange. */
  function received<A extends Values>(store: Store<A>, length: number): A {
    const sizeBytes = length * store.bytes;
    if (scratch.byteLength < sizeBytes) scratch = new ArrayBuffer(sizeBytes);
    return store.over(scratch, length);
  }
  return {
    async toShares(store, held, piece) {
      const { units } = store;
      const own = lengthOf(piece[rank]);
      const parts = received(store, own * size);
      const given = piece.map(lengthOf);
      const taken = piece.map(() => own);
      await call(
        "Alltoallv",
        held.values,
        counts(given, units),
        counts(held.offsets, units),
        handleOf(store),
        parts,
        counts(taken, units),
        counts(taken.map((_, r) => r * own), units),
        handleOf(store),
        handles.world,
      );
      bytesSent += store.bytes * (given.reduce((all, count) => all + count, 0) - own);
      return parts;
    },
    async fromShares(element, own, held, piece) {
      const { units } = element;
      const type = handleOf(element);
      await call(
        "Allgatherv",
        own,
        own.length * units,
        type,
        held.values,
        counts(piece.map(lengthOf), units),
        counts(held.offsets, units),
        type,
        handles.world,
      );
      bytesSent += own.byteLength * others;
    },
    async fromAll(store, own) {
      const all = received(store, own.length * size);
      const count = own.length * store.units;
      await call("Allgather", own, count, handleOf(store), all, count, handleOf(store), handles.world);
      bytesSent += own.byteLength * others;
      return all;
    },
    async fromRoot(element, values, root) {
      await call("Bcast", values, values.length * element.units, handleOf(element), root, handles.world);
      if (rank === root) bytesSent += values.byteLength * others;
    },
    add: (element, values, total) =>
      call("Reduce_local", values, total, total.length, handleOf(element), handles.sum),
    bytesSent: () => bytesSent,
  };
}
