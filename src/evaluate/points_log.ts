/** The completions of an evaluation that is not over: one that was killed goes on behind them. */
import { dirname } from "node:path";
import { makeFolders } from "../io/files/atomic_files.ts";
import { readIfThere } from "../io/files/presence.ts";
import { type AppendLog, openAppendLog } from "../io/records/append_log.ts";
import { loggedPoint, type Point } from "./points.ts";

export interface PointsLog {
  /** Those that are there from before. */
  readonly kept: readonly Point[];
  /** Adds points, which outlive this process once it returns. The first call makes the file. */
  add(points: readonly Point[]): Promise<void>;
  close(): void;
}

/**
 * The log of an evaluation; what another has left there gives way to its first points.
 * @param identity of all that the completions and their scores depend on
 * @throws Error when it cannot be read, or holds what this program does not write
 */
export async function openPointsLog(path: string, identity: string): Promise<PointsLog> {
  // The first row says of what evaluation the others are.
  const first = { step: 0, identity };
  const lines = (await readIfThere(path, "go on from") ?? "").split("\n");
  const isOurs = lines[0] === JSON.stringify(first);
  // Behind the last line's end is what a killed writer left, which the log cuts off.
  const kept = isOurs ? lines.slice(1, -1).map((line) => loggedPoint(line, path)) : [];
  let step = kept.length;
  let log: AppendLog | null = null;
  const open = async () => {
    await makeFolders(dirname(path));
    const opened = openAppendLog(path, isOurs ? Number.MAX_SAFE_INTEGER : -1);
    if (!isOurs) opened.append(first);
    return opened;
  };
  return {
    kept,
    async add(points) {
      log ??= await open();
      for (const point of points) log.append({ step: ++step, ...point });
      log.sync();
    },
    close: () => log?.close(),
  };
}
