/** What the thread that scores and the thread that answers HTTP say to each other. */
import type { Message } from "../../rl/conversation.ts";
import type { RefusedRequest } from "../server.ts";
import type { ServeScorerOptions } from "../serve.ts";
import type { Scores } from "../protocol.ts";
import type { BatchReport } from "./batches.ts";

/** Options that can be sent. */
export type SentOptions = Omit<
  ServeScorerOptions,
  "scoreTexts" | "metrics" | "onRefusal" | "onError" | "onCut"
>;

/** Of the thread that answers. */
export type FromFront =
  | { kind: "listens"; url: string }
  | { kind: "score"; id: number; texts: string[]; conversations?: readonly (readonly Message[])[] }
  | { kind: "abort"; id: number }
  | { kind: "refusal"; refusal: RefusedRequest }
  | { kind: "cut"; conversations: number }
  | { kind: "closed" }
  | { kind: "failed"; error: string };

/** Of the thread that scores. */
export type ToFront =
  | { kind: "scores"; id: number; scores: Scores }
  | { kind: "error"; id: number; error: string; isUnreadable: boolean }
  | { kind: "batch"; report: BatchReport }
  | { kind: "close" };
