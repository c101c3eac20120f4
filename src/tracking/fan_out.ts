/** Every sink gets the same calls; a copy that fails gets no more of them. */
import type { Sink, SinkCall } from "./sink.ts";

type Arguments<Call extends SinkCall> = Parameters<NonNullable<Sink[Call]>>;

/** What a message calls the call. */
const ACTIONS: Readonly<Record<SinkCall, string>> = {
  start: "opening it",
  step: "a row of metrics",
  evaluation: "the row of an evaluation",
  histogram: "a histogram",
  completions: "the completions of a step",
  table: "a table of samples",
  scatter: "a scatter plot",
  finish: "finishing it",
  close: "closing it",
};

export interface FanOut {
  /**
   * Calls one after the other.
   * @throws what a sink threw that is a record
   */
  tell<Call extends SinkCall>(call: Call, ...details: Arguments<Call>): Promise<void>;
}

/**
 * A copy that failed is not tried again: what it has is whole up to there, where a gap or half a record would mislead
 * its reader or end it there anyway; and its complaint would come with every step. It is still closed.
 * @param onMessage told once of each copy that fails
 */
export function fanOut(sinks: readonly Sink[], onMessage: (text: string) => void): FanOut {
  const failed = new Set<Sink>();
  return {
    async tell(call, ...details) {
      for (const sink of sinks) {
        if (failed.has(sink) && call !== "close") continue;
        try {
          await (sink[call] as ((...details: unknown[]) => unknown) | undefined)?.(...details);
        } catch (error) {
          if (sink.isRecord) throw error;
          if (!failed.has(sink)) {
            onMessage(
              `${sink.name} gets no more of this run: ${ACTIONS[call]} failed (${
                (error as Error).message
              }); ` +
                "training goes on, and metrics.jsonl and samples/ have everything",
            );
          }
          failed.add(sink);
        }
      }
    },
  };
}
