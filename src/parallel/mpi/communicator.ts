/**
 * A communicator whose ranks are processes of MPI. Collectives run one after the other, in the order of their calls, on
 * another thread; before each the ranks compare what they ask for. What does not agree, and what a rank leaves for, is
 * an error on every rank; what never comes ends all ranks (world.ts).
 */
import { assertRoot, assertRounds, cameApart, hasLeft, reasonText } from "../asked.ts";
import type { Communicator, Shareable } from "../communicator.ts";
import * as over from "./collectives.ts";
import type { Begun } from "./collectives.ts";
import { exchangeOver } from "./exchange.ts";
import { type Asked, asked, askedBy, headerOf, textOf } from "./header.ts";
import { storeOf } from "./store.ts";
import type { World } from "./world.ts";

/** How long a rank that has left waits until the others hear of it, and save what they have. */
const LEAVING_S = 20;

const NOTHING: Begun = { ready: Promise.resolve(), run: () => Promise.resolve() };
const WORDS = storeOf(new Int32Array());

export interface MpiCommunicator extends Communicator {
  /** Ends MPI with all other ranks; what they have failed of is thrown. */
  close(): Promise<void>;
}

/** Has work done one after the other. */
function inTurns() {
  let last: Promise<unknown> = Promise.resolve();
  return <R>(work: () => Promise<R>): Promise<R> => {
    const next = last.then(work);
    last = next.catch(() => {});
    return next;
  };
}

export function mpiCommunicator(world: World): MpiCommunicator {
  const { rank, size } = world;
  const exchange = exchangeOver(world);
  const inTurn = inTurns();
  let collectives = 0;
  let failure: Error | null = null;
  let leaving: { reason: unknown; told: Promise<void> } | null = null;
  let isClosed = false;

  /** Returns once every rank has asked for the same. @throws Error when they have not, the same on every rank */
  async function meet(own: Asked, reason: Uint8Array): Promise<void> {
    collectives++;
    const headers = await exchange.fromAllPatiently(headerOf(own));
    const all = Array.from({ length: size }, (_, r) => askedBy(headers, r));
    const left = all.findIndex(({ name }) => name === "leave");
    if (left >= 0) {
      throw failure = hasLeft(left, await reasonOf(left, all[left].length, reason), leaving?.reason);
    }
    const texts = all.map(textOf);
    const other = texts.findIndex((text) => text !== texts[0]);
    if (other > 0) {
      throw failure = cameApart(collectives, { rank: 0, text: texts[0] }, {
        rank: other,
        text: texts[other],
      });
    }
  }

  /** The text that the rank which leaves gives the others. */
  async function reasonOf(left: number, length: number, own: Uint8Array): Promise<string> {
    const words = new Int32Array(Math.ceil(length / 4));
    if (rank === left) new Uint8Array(words.buffer).set(own);
    if (words.length > 0) await exchange.fromRoot(WORDS, words, left);
    return new TextDecoder().decode(new Uint8Array(words.buffer, 0, length));
  }

  /** @param check of what is asked for, once all ranks are known to ask for it: it fails on all of them */
  function collective(own: Asked, begun: () => Begun, check = () => {}): Promise<void> {
    const text = textOf(own);
    let work: Begun | null = null;
    try {
      work = failure ? null : begun();
    } catch (error) {
      return Promise.reject(error);
    }
    work?.ready.catch(() => {}); // told below
    return inTurn(async () => {
      if (failure) throw failure;
      await work!.ready;
      await world.guarded(text, meet(own, new Uint8Array()));
      try {
        check();
      } catch (error) {
        throw failure = error as Error;
      }
      try {
        await world.guarded(text, work!.run());
      } catch (error) {
        // The others are in the middle of it, and would wait for ever.
        world.abort(`Rank ${rank} failed within ${text}, which ends all ranks: ${(error as Error).stack}`);
      }
    });
  }

  const place = { rank, size };
  const sharing = (name: Asked["name"], begin: (values: Shareable) => Begun) => (values: Shareable) =>
    collective(asked(name, values), () => begin(values));

  async function leave(reason: unknown): Promise<void> {
    if (failure) return;
    const text = new TextEncoder().encode(reasonText(reason));
    try {
      await world.guarded("leaving the run", meet(asked("leave", null, { length: text.length }), text));
    } catch {
      // What the others fail with; the caller has its own reason.
    }
  }

  return {
    rank,
    size,
    get bytesSent() {
      return exchange.bytesSent();
    },
    allReduceSum: sharing("allReduceSum", (values) => over.allReduce(exchange, values, place, "sum")),
    allReduceMax: sharing("allReduceMax", (values) => over.allReduce(exchange, values, place, "max")),
    reduceScatterSum(values, wire = "float32") {
      const own = asked("reduceScatterSum", values, { wire });
      if (wire === "float32") return collective(own, () => over.reduceScatterSum(exchange, values, place));
      const isRounded = own.kind === "float32" || own.kind === "Float32Array";
      const begin = () => isRounded ? over.reduceScatterRounded(exchange, values, place) : NOTHING;
      return collective(own, begin, () => assertRounds(values));
    },
    allGather: sharing("allGather", (values) => over.allGather(exchange, values, place)),
    broadcast(values, root) {
      const begin = () => over.broadcast(exchange, values, root, place);
      return collective(asked("broadcast", values, { root }), begin, () => assertRoot(root, size));
    },
    barrier: () => collective(asked("barrier", null), () => NOTHING),
    leave(reason) {
      if (isClosed || leaving) return;
      leaving = { reason, told: inTurn(() => leave(reason)) };
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      let found: Error | null = null;
      if (leaving) await told(leaving.told, leaving.reason);
      // What has failed before was thrown there.
      else if (!failure) {
        await collective(asked("close", null), () => NOTHING).catch((error) => found = error);
      }
      // Of those that failed, the last may still be saving what it has.
      await world.guarded("the end of the run", exchange.fromAllPatiently(new Float64Array(1)));
      world.finalize();
      if (found) throw found;
    },
  };

  /** Ends all ranks where the others do not hear in time that this one has left. */
  async function told(telling: Promise<void>, reason: unknown): Promise<void> {
    const timer = setTimeout(() => {
      const why = reasonText(reason);
      world.abort(
        `${
          hasLeft(rank, why).message
        }; they have not come to their next collective within ${LEAVING_S} s, so all end`,
      );
    }, 1000 * LEAVING_S);
    await telling.finally(() => clearTimeout(timer));
  }
}
