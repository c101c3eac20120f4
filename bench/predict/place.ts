/** Where the program is in a step: what its kernels count towards, and whom their tokens see. */
import { Tensor } from "@tensorflow/tfjs";
import type { CalledDispatch } from "../../src/gpu/backend.ts";
import type { Replays } from "../../src/gpu/replay.ts";
import type { PassReplays } from "../../src/policy/pass_replays.ts";
import type { Place } from "./record.ts";
import type { Seen } from "./work.ts";

/** One token, which sees itself. */
export const ALONE: Seen = { sequence: 1, prefix: 0, readers: 1, held: 1, prompt: 0, group: 1 };

/** Told by those who call the program, and by the kernels that come. */
export interface Tracker {
  placeOf(dispatch: CalledDispatch): Place;
  /** Prefill turns into decoding by itself, training into its parts. */
  enter(phase: "prefill" | "score" | "reference" | "training", seen: Seen): void;
}

/** Tokens of a decode step are counted as so many as there are halfway between two of these. */
const HELD_STEP = 16;

/** What a new token of every row meets, from token to token. */
function decodeSeen(prompt: number, group: number): (token: number) => Seen {
  const known = new Map<number, Seen>();
  return (token) => {
    const block = Math.floor(token / HELD_STEP);
    let found = known.get(block);
    const held = prompt + block * HELD_STEP + HELD_STEP / 2;
    if (!found) known.set(block, found = { ...ALONE, held, prompt, group });
    return found;
  };
}

const OPTIMIZER = ["adamw", "square_sums", "clip_scale"];

/** The part of training that a kernel belongs to, after one of another part: layers may be run twice. */
function trainingPart({ kernel, conditions }: CalledDispatch["call"], before: string): string {
  if (OPTIMIZER.includes(kernel)) return "optimizer";
  if (kernel.includes("grad") || conditions.GRAD_X || conditions.GRAD_W) return "backward";
  if (kernel === "group_advantages" || kernel === "embedding") return "forward";
  if (before === "backward" && /^(rms_norm|linear|swiglu_linear)/.test(kernel)) return "recompute";
  return before;
}

/** @param prompt tokens of each, @param group completions of each */
export function trackPlace(prompt: number, group: number): Tracker {
  let [phase, part] = ["", "forward"];
  let seen = ALONE;
  let token = 0;
  const seenAt = decodeSeen(prompt, group);
  return {
    enter(next, nextSeen) {
      [phase, part, seen, token] = [next, "forward", nextSeen, 0];
    },
    placeOf({ call }) {
      if (phase === "training") {
        part = trainingPart(call, part);
        return { phase: part, seen };
      }
      const place = { phase, seen: phase === "decode" ? seenAt(token) : seen };
      if (call.kernel === "decode_advance") {
        if (phase === "decode") token++;
        phase = "decode";
      }
      return place;
    },
  };
}

/** Whether a pass is given which rows of a beginning its own see. */
function hasPrefix(inputs: unknown): boolean {
  if (typeof inputs !== "object" || inputs === null || inputs instanceof Tensor) return false;
  return "readers" in inputs || Object.values(inputs).some(hasPrefix);
}

/** What the passes of a model meet. */
export interface PassesSeen {
  prompts: Seen;
  /** Completions behind a prompt that they share. */
  shared: Seen;
  /** Prompt and completion. */
  whole: Seen;
}

/**
 * @param prefix tokens of a prompt but for those that completions begin with
 * @param own what a pass reads of a completion
 * @param readers completions of a pass that share a prompt
 */
export function passesSeen(prefix: number, own: number, readers: number): PassesSeen {
  return {
    prompts: { ...ALONE, sequence: prefix },
    shared: { ...ALONE, sequence: own, prefix, readers },
    whole: { ...ALONE, sequence: prefix + own },
  };
}

/** Passes over prompts and completions tell the tracker which they are. */
export function tellPasses(
  replays: PassReplays,
  phase: "score" | "reference" | "training",
  seen: PassesSeen,
  tracker: Tracker,
): void {
  const telling = (inner: Replays, seenBy: (inputs: unknown) => Seen): Replays => ({
    ...inner,
    run(name, inputs, build) {
      tracker.enter(phase, seenBy(inputs));
      return inner.run(name, inputs, build);
    },
  });
  replays.prompts = telling(replays.prompts, () => seen.prompts);
  replays.passes = telling(replays.passes, (inputs) => hasPrefix(inputs) ? seen.shared : seen.whole);
  replays.promptsBackward = telling(replays.promptsBackward, () => seen.prompts);
}
