/** Every sink gets the same calls; a copy that fails gets no more of them, and a record what it is owed. */
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
   * Calls one after the other. What a record could not take it is owed: so is all that comes behind it.
   * @throws what a record threw at its start or close
   */
  tell<Call extends SinkCall>(call: Call, ...details: Arguments<Call>): Promise<void>;
  /**
   * Gives the records what they are owed, in order.
   * @throws what a record threw that still cannot take it; it stays owed
   */
  settle(): Promise<void>;
}

/** Calls that cannot be made up for later. */
const AT_ONCE: readonly SinkCall[] = ["start", "close"];

const callOf = async (sink: Sink, call: SinkCall, details: readonly unknown[]): Promise<void> => {
  await (sink[call] as ((...details: readonly unknown[]) => unknown) | undefined)?.(...details);
};

/**
 * A copy that failed is not tried again: what it has is whole up to there, where a gap or half a record would mislead
 * its reader or end it there anyway; and its complaint would come with every step. It is still closed.
 * @param onMessage told once of each copy that fails
 */
export function fanOut(sinks: readonly Sink[], onMessage: (text: string) => void): FanOut {
  const failed = new Set<Sink>();
  const owed: { sink: Sink; call: SinkCall; details: readonly unknown[] }[] = [];
  async function settle(): Promise<void> {
    while (owed.length > 0) {
      const [{ sink, call, details }] = owed;
      await callOf(sink, call, details);
      owed.shift();
    }
  }
  return {
    settle,
    async tell(call, ...details) {
      for (const sink of sinks) {
        if (failed.has(sink) && call !== "close") continue;
        if (sink.isRecord && !AT_ONCE.includes(call)) {
          owed.push({ sink, call, details });
          await settle().catch(() => {}); // whoever settles is told
          continue;
        }
        try {
          await callOf(sink, call, details);
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
