/** Decoding of the 15M model: our recorded plan, the same kernels unrecorded, plain tfjs ops, and transformers. */
import { trimPool } from "../src/gpu/pool.ts";
import { settle } from "../src/gpu/queue.ts";
import { openGpu } from "../src/gpu/device.ts";
import { withoutReplay } from "../src/gpu/trial_modes.ts";
import { disposePolicyWeights } from "../src/policy/adapters.ts";
import { openBatch } from "../src/policy/decode/batch.ts";
import { closeSession, openSession, replayLane } from "../src/policy/decode/session.ts";
import { createGenerator } from "../src/policy/decode/generate.ts";
import { disposeTrunk } from "../src/policy/transformer.ts";
import type { Policy } from "../src/policy/trunk.ts";
import { randomInts } from "../test/cases/case.ts";
import { quantile, summarize, type Timing } from "./measure.ts";
import { type PeerChoice, wantsPeer } from "./peers/choice.ts";
import { policyOf } from "./peers/ours.ts";
import { plainDecoder } from "./peers/plain_decode.ts";
import { MODEL_15M, MODEL_TINY, type PeerTask, peerTask } from "./peers/task.ts";
import { torchDecoder } from "./peers/torch.ts";
import { showProgress } from "./progress.ts";
import { type Skipped, skippedFor } from "./table.ts";
import { inTurn, secondsOf } from "./wall_clock.ts";
import type { LlamaShape } from "./random_llama.ts";

export interface DecoderReport {
  name: string;
  /** Of one token of all rows, after the prefill. */
  timing: Timing;
}

export interface DecodeReport {
  rows: number;
  promptTokens: number;
  tokens: number;
  decoders: DecoderReport[];
  /** Peers that cannot run here, and why. */
  skipped: Skipped[];
  /** JavaScript of one replayed token of a model of 32 layers: replay() with its submit. */
  replay: { layers: number; dispatches: number; fastestMs: number; medianMs: number };
}

/** Greedy tokens that follow each prompt, [rows * count]. */
type Decode = (count: number) => Promise<Int32Array>;

interface Decoder {
  name: string;
  decode: Decode;
  dispose(): void;
}

const READBACK_EVERY = 16;
const GREEDY = { temperature: 0, topP: 1, topK: 0, eosIds: [-1], readbackEvery: READBACK_EVERY };

interface OurDecoder {
  name: string;
  policy: Policy;
  prompts: readonly Int32Array[];
  /** How a generation is run. */
  wrap<R>(body: () => Promise<R>): Promise<R>;
}

function ourDecoder({ name, policy, prompts, wrap }: OurDecoder): Decoder {
  const generators = new Map<number, ReturnType<typeof createGenerator>>();
  const generatorOf = (maxTokens: number) => {
    if (!generators.has(maxTokens)) {
      generators.set(maxTokens, createGenerator(policy, { ...GREEDY, maxTokens }));
    }
    return generators.get(maxTokens)!;
  };
  return {
    name,
    async decode(count) {
      const request = { prompts, groupSize: 1, seed: 1, step: 1 };
      const completions = await wrap(() => generatorOf(count).generate(request));
      return Int32Array.from(completions.flatMap(({ tokens }) => tokens));
    },
    dispose: () => generators.forEach((generator) => generator.dispose()),
  };
}

function tfjsDecoder(task: PeerTask, prompts: readonly Int32Array[]): Decoder {
  const { decode, dispose } = plainDecoder(task);
  return { name: "plain tfjs", decode: (count) => decode(prompts, count), dispose };
}

/** @throws Error when a peer picks other tokens: its time would mean nothing */
async function assertSameTokens(own: Decoder, peer: Decoder, count: number): Promise<void> {
  const [wanted, found] = [await own.decode(count), await peer.decode(count)];
  const at = found.findIndex((token, i) => token !== wanted[i]);
  if (at < 0 && found.length === wanted.length) return;
  throw new Error(
    `Not timed: ${peer.name} picks token ${found[at]} for row ${Math.floor(at / count)}, ` +
      `place ${at % count}, where this project picks ${
        wanted[at]
      }; greedy decoding of the same weights must agree`,
  );
}

/** Times decoders in turn: a generation of `tokens` less one of 1, which is all prefill. The first round warms up. */
async function race(decoders: readonly Decoder[], tokens: number, repeats: number): Promise<DecoderReport[]> {
  const samples = await inTurn(decoders, repeats + 1, async ({ name, decode }, round) => {
    showProgress(round === 0 ? `warming up: ${name}` : `round ${round} of ${repeats}: ${name}`);
    const prefill = await secondsOf(() => decode(1));
    const seconds = await secondsOf(() => decode(tokens)) - prefill;
    trimPool();
    return seconds;
  });
  return decoders.map(({ name }, d) => ({ name, timing: summarize(samples[d].slice(1), tokens - 1) }));
}

/** 32 layers, so narrow that JavaScript is what takes time. */
const DEEP: LlamaShape = { hidden: 32, intermediate: 32, layers: 32, heads: 2, kvHeads: 2, vocab: 64 };
const REPLAYS = 40;

/** Milliseconds of JavaScript that a replayed token takes, the GPU being idle before each. */
async function measureReplay(rows: number): Promise<DecodeReport["replay"]> {
  const task = peerTask(DEEP, 4, REPLAYS + 16);
  const policy = await policyOf(task);
  const session = openSession(policy, { ...GREEDY, maxTokens: REPLAYS + 8 });
  const prompts = Array.from({ length: rows }, () => task.ids.subarray(0, 4));
  const { lane } = openBatch(session, { prompts, groupSize: 1, seed: 1, step: 1 }, REPLAYS + 4);
  replayLane(session, lane, 1); // recorded here
  const times: number[] = [];
  for (let i = 0; i < REPLAYS; i++) {
    await settle();
    const begin = performance.now();
    replayLane(session, lane, 1);
    times.push(performance.now() - begin);
  }
  await settle();
  const dispatches = lane.plan!.dispatches.length;
  closeSession(session);
  disposePolicyWeights(policy);
  disposeTrunk(policy);
  return { layers: DEEP.layers, dispatches, fastestMs: Math.min(...times), medianMs: quantile(times, 0.5) };
}

export interface DecodeOptions {
  repeats: number;
  peer: PeerChoice;
  /** The Python that may have PyTorch. */
  python: string;
  /** A model of a few thousand parameters, to see whether all of it runs. */
  isTiny: boolean;
}

/** Times all decoders. @throws Error when one picks other tokens */
export async function benchDecoding(
  { repeats, peer: choice, python, isTiny }: DecodeOptions,
): Promise<DecodeReport> {
  await openGpu();
  const [shape, rows, promptTokens, tokens] = isTiny ? [MODEL_TINY, 4, 8, 9] : [MODEL_15M, 32, 64, 17];
  const task = peerTask(shape, 4, promptTokens + tokens);
  const prompts = Array.from({ length: rows }, (_, r) => randomInts(50 + r, promptTokens, shape.vocab));
  const policy = await policyOf(task);
  const own = ourDecoder({ name: "recorded plan", policy, prompts, wrap: (body) => body() });
  const peers = [
    ourDecoder({ name: "the same kernels, unrecorded", policy, prompts, wrap: withoutReplay }),
    ...(wantsPeer(choice, "tfjs") ? [tfjsDecoder(task, prompts)] : []),
  ];
  const skipped: Skipped[] = [];
  if (wantsPeer(choice, "torch")) {
    try {
      peers.push(await torchDecoder(task, prompts, python));
    } catch (error) {
      skipped.push(skippedFor("torch", error));
    }
  }
  let decoders: DecoderReport[];
  try {
    for (const peer of peers) {
      showProgress(`${peer.name}: its tokens, held against this project's`);
      await assertSameTokens(own, peer, 9);
    }
    decoders = await race([own, ...peers], tokens, repeats);
  } finally {
    for (const decoder of [own, ...peers]) decoder.dispose();
    disposePolicyWeights(policy);
    disposeTrunk(policy);
    trimPool();
  }
  showProgress("JavaScript of a replayed token");
  const replay = await measureReplay(rows);
  showProgress("");
  return { rows, promptTokens, tokens, decoders, skipped, replay };
}
