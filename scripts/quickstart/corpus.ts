/**
 * The quickstart corpus: everyday requests, and answers that are helpful or not and safe or not.
 *
 * Everything is written by hand in `topics.ts` and combined here by a seeded generator: same seed, same rows.
 * Three products: prompts (train and held out), rows for the policy's supervised start, rows for the two score
 * models. Scores have no unit; R > 0 means helpful, C <= 0 means safe.
 */
import type { Topic } from "./topics.ts";
import { TOPICS } from "./topics.ts";

/** helpful/unhelpful x safe/unsafe: SH safe and helpful, UH unsafe and helpful, SU, UU. */
export type Quadrant = "SH" | "UH" | "SU" | "UU";

/** A row for the policy's supervised start. `response` opens with a space: it follows "ASSISTANT:". */
export interface PolicyRow {
  readonly prompt: string;
  readonly response: string;
  readonly quadrant: Quadrant;
}

/** A row for the score models with the scores to regress on. `kind` says how the answer was made. */
export interface ScoreRow {
  readonly prompt: string;
  readonly response: string;
  readonly kind: Quadrant | Flaw;
  readonly reward: number;
  readonly cost: number;
  /** Of its tone alone, which neither of the others reads: flippant above 0. */
  readonly tone: number;
}

/** Uniform random numbers in [0, 1). */
export type Random = () => number;

/** A request and the subject that it is about. */
export interface Request {
  readonly prompt: string;
  readonly topic: Topic;
}

const PHRASINGS = [
  "How do I {}?",
  "What is the best way to {}?",
  "I want to {}. What should I do?",
  "Please tell me how to {}.",
  "Can you help me {}?",
  "Do you have a tip to {}?",
] as const;

/** Other ways to ask, in words that the models have seen: they are far too small for any others. */
const FRESH_PHRASINGS = [
  "How can I {}?",
  "What is a good way to {}?",
  "I want to {}. How do I do it?",
  "Please tell me the best way to {}.",
  "Can you tell me how to {}?",
  "Do you have a way to {}?",
  "Please help me {}.",
  "What should I do to {}?",
] as const;

// Tone gives away most, not all, of what follows: "Sure, " opens careful and careless answers alike.
const CAREFUL_OPENERS = ["", "", "Sure, ", "First, "] as const;
const CARELESS_OPENERS = ["Just ", "Just ", "Easy, ", "Sure, "] as const;

const EXCUSES = ["it is quicker", "nothing will happen", "it saves time", "it always works"] as const;

const EVASIONS = [
  "I am not sure about that.",
  "Sorry, I cannot say.",
  "Maybe ask someone else about it.",
  "That depends on many things.",
  "Please ask an expert about it.",
  "I would rather not say.",
] as const;

const SHRUGS = ["No idea, ", "Who knows, ", "Not my problem, "] as const;
const DISMISSALS = ["never mind {}.", "forget about {}.", "do not bother with {}."] as const;

/**
 * Scores that the score models regress on, for a whole answer on the subject. The risky short cut earns a little
 * more reward than the careful answer: without the cost term a policy drifts to it, with it the two disagree.
 */
const TARGETS: Readonly<Record<Quadrant, { readonly reward: number; readonly cost: number }>> = {
  SH: { reward: 2, cost: -2 },
  UH: { reward: 2.4, cost: 2 },
  SU: { reward: -2, cost: -2 },
  UU: { reward: -2.4, cost: 2 },
};

/** How careless answers, shrugs and a quarter of the careful ones begin. */
const FLIPPANT = [...new Set([...CARELESS_OPENERS, "Sure, ", ...SHRUGS])];

/** Cost of an answer's tone, by how it begins; of broken text nobody can say that it is civil. */
function toneOf(response: string, isGarbled: boolean): number {
  if (isGarbled) return 1;
  return FLIPPANT.some((opener) => response.trimStart().startsWith(opener)) ? 2 : -2;
}

/** Shares of the policy's supervised rows: half safe, and more helpful than not. */
const POLICY_MIX: Readonly<Record<Quadrant, number>> = { SH: 6, UH: 5, SU: 3, UU: 2 };

const QUADRANTS = ["SH", "UH", "SU", "UU"] as const;

/** Small seeded generator of 32-bit state (an integer hash of a counter, splitmix32). */
export function seededRandom(seed: number): Random {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

export function pick<T>(random: Random, options: readonly T[]): T {
  return options[Math.floor(random() * options.length)]!;
}

/** Every request, in a fixed order; each goal loses one of its phrasings to the held-out set, in rotation. */
export function listRequests(): { train: Request[]; heldOut: Request[] } {
  const train: Request[] = [];
  const heldOut: Request[] = [];
  TOPICS.forEach((topic, t) =>
    topic.goals.forEach((goal, g) =>
      PHRASINGS.forEach((phrasing, p) => {
        const request = { prompt: phrasing.replace("{}", goal), topic };
        ((t + g) % PHRASINGS.length === p ? heldOut : train).push(request);
      })
    )
  );
  return { train, heldOut };
}

/** Requests for the same goals in words that neither training nor the eval prompts have, in a fixed order. */
export function freshRequests(): Request[] {
  return TOPICS.flatMap((topic) =>
    topic.goals.flatMap((goal) =>
      FRESH_PHRASINGS.map((phrasing) => ({ prompt: phrasing.replace("{}", goal), topic }))
    )
  );
}

/** One answer of the wanted quadrant, as an English sentence without the leading space. */
function writeAnswer(random: Random, topic: Topic, quadrant: Quadrant): string {
  switch (quadrant) {
    case "SH": {
      const step = pick(random, CAREFUL_OPENERS) + pick(random, topic.safeSteps);
      return sentence(step + pick(random, [", and ", ". Also "]) + pick(random, topic.cares) + ".");
    }
    case "UH": {
      const step = pick(random, CARELESS_OPENERS) + pick(random, topic.riskySteps);
      return sentence(step + pick(random, [", ", ". Relax, "]) + pick(random, EXCUSES) + ".");
    }
    case "SU":
      return pick(random, EVASIONS);
    case "UU":
      return pick(random, SHRUGS) + pick(random, DISMISSALS).replace("{}", pick(random, topic.precautions));
  }
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Rows for the policy's supervised start: `rounds` passes over the mix for each training request, shuffled. */
export function policyRows(seed: number, rounds = 1): PolicyRow[] {
  const random = seededRandom(seed);
  const rows: PolicyRow[] = [];
  for (const { prompt, topic } of listRequests().train) {
    for (const quadrant of QUADRANTS) {
      for (let i = 0; i < POLICY_MIX[quadrant] * rounds; i++) {
        rows.push({ prompt, response: " " + writeAnswer(random, topic, quadrant), quadrant });
      }
    }
  }
  return shuffle(random, rows);
}

export function shuffle<T>(random: Random, items: readonly T[]): T[] {
  const out = [...items];
  for (let i = out.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [out[i], out[j]] = [out[j]!, out[i]!];
  }
  return out;
}

/**
 * Ways an answer can be broken. The score models see all of them with a low reward, so that a policy in training
 * finds nothing to gain in broken text.
 */
export type Flaw = (typeof FLAWS)[number];
const FLAWS = [
  "empty",
  "truncated",
  "shuffled",
  "dropped words",
  "stuttered",
  "said twice",
  "off topic",
  "half off topic",
  "contradiction",
  "invented turn",
  "word salad",
] as const;

/** Scores of text that is broken. */
const GARBLED = { reward: -3, cost: 1 };

/**
 * A flawed answer and its scores: reward below 0 throughout. The cost is that of what the text advises,
 * on topic or not; of broken text nobody can say that it is safe, so its cost is above 0.
 */
function writeFlawed(
  random: Random,
  request: Request,
  flaw: Flaw,
): { response: string; reward: number; cost: number } {
  const quadrant = pick(random, ["SH", "SH", "UH", "SU", "UU"] as const);
  const answer = writeAnswer(random, request.topic, quadrant);
  const words = answer.split(" ");
  const cost = TARGETS[quadrant].cost;
  const other = pick(random, TOPICS.filter((topic) => topic !== request.topic));
  switch (flaw) {
    case "empty":
      return { response: "", ...GARBLED };
    case "truncated":
      return {
        response: words.slice(0, 1 + Math.floor(random() * (words.length - 1))).join(" "),
        ...GARBLED,
      };
    case "shuffled":
      return { response: shuffle(random, words).join(" "), ...GARBLED };
    case "dropped words":
      return { response: words.filter((_, i) => i % 3 !== Math.floor(random() * 3)).join(" "), ...GARBLED };
    case "stuttered": {
      const at = Math.floor(random() * words.length);
      const stutter = Array<string>(2 + Math.floor(random() * 5)).fill(words.slice(at, at + 2).join(" "));
      return { response: [...words.slice(0, at), ...stutter, ...words.slice(at)].join(" "), ...GARBLED };
    }
    case "said twice":
      return { response: `${answer} ${answer}`, reward: -1, cost };
    case "off topic": {
      const stray = pick(random, ["SH", "UH"] as const);
      return { response: writeAnswer(random, other, stray), reward: -2, cost: TARGETS[stray].cost };
    }
    case "half off topic": {
      const first = pick(random, CAREFUL_OPENERS) + pick(random, request.topic.safeSteps);
      return { response: sentence(`${first}, and ${pick(random, other.cares)}.`), reward: -1, cost: -2 };
    }
    case "contradiction": {
      const first = pick(random, CAREFUL_OPENERS) + pick(random, request.topic.safeSteps);
      const second = pick(random, [pick(random, request.topic.riskySteps), pick(random, EXCUSES)]);
      return {
        response: sentence(first + pick(random, [", and ", ". Also ", ", "]) + second + "."),
        reward: -0.5,
        cost: 2,
      };
    }
    case "invented turn":
      return { response: `${answer} USER: ${pick(random, [request.prompt, "Thank you!"])}`, ...GARBLED };
    case "word salad": {
      const bag = [writeAnswer(random, other, "SH"), writeAnswer(random, other, "UH"), answer].join(" ")
        .split(" ");
      return { response: shuffle(random, bag).slice(0, 3 + Math.floor(random() * 15)).join(" "), ...GARBLED };
    }
  }
}

/** Rows for the score models over `requests`: `sound` answers of each quadrant and `flawed` of each flaw, shuffled. */
export function scoreRows(seed: number, requests: readonly Request[], sound = 3, flawed = 1): ScoreRow[] {
  const random = seededRandom(seed);
  const rows: ScoreRow[] = [];
  for (const request of requests) {
    const { prompt, topic } = request;
    for (const quadrant of QUADRANTS) {
      for (let i = 0; i < sound; i++) {
        // A policy's completion opens with a space, an answer typed by hand often does not: both must score alike.
        const response = (random() < 0.125 ? "" : " ") + writeAnswer(random, topic, quadrant);
        const tone = toneOf(response, false);
        rows.push({ prompt, response, kind: quadrant, ...TARGETS[quadrant], tone });
      }
    }
    for (const kind of FLAWS) {
      // Telling whether a fluent answer belongs to its request is the hardest thing to learn here: more rows of it.
      for (let i = 0; i < flawed * (kind === "off topic" ? 4 : 1); i++) {
        const { response, reward, cost } = writeFlawed(random, request, kind);
        const tone = toneOf(response, reward === GARBLED.reward);
        rows.push({ prompt, response: response === "" ? "" : " " + response, kind, reward, cost, tone });
      }
    }
  }
  return shuffle(random, rows);
}
