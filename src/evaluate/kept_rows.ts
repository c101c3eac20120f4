/** Rows of work that is not over, one to a line: what was killed goes on behind them. */
import { dirname } from "node:path";
import { makeFolders } from "../io/files/atomic_files.ts";
import { readIfThere } from "../io/files/presence.ts";
import { type AppendLog, openAppendLog } from "../io/records/append_log.ts";

export interface KeptRows<Row> {
  /** Those that are there from before. */
  readonly kept: readonly Row[];
  /** Adds rows, which outlive this process once it returns. The first call makes the file. */
  add(rows: readonly Row[]): Promise<void>;
  close(): void;
}

/**
 * The rows of a piece of work; what another has left there gives way to its first ones.
 * @param identity of all that the rows depend on
 * @param readRow a row of a line; it throws where the line is none
 * @throws Error when the file cannot be read, or holds what this program does not write
 */
export async function openKeptRows<Row extends object>(
  path: string,
  identity: string,
  readRow: (line: string, path: string) => Row,
): Promise<KeptRows<Row>> {
  // The first row says of what work the others are; theirs are numbered.
  const first = { step: 0, identity };
  const lines = (await readIfThere(path, "go on from") ?? "").split("\n");
  const isOurs = lines[0] === JSON.stringify(first);
  // Behind the last line's end is what a killed writer left, which the log cuts off.
  const kept = isOurs ? lines.slice(1, -1).map((line) => readRow(line, path)) : [];
  let step = kept.length;
  let log: Promise<AppendLog> | null = null;
  const open = async () => {
    await makeFolders(dirname(path));
    const opened = openAppendLog(path, isOurs ? Number.MAX_SAFE_INTEGER : -1);
    if (!isOurs) opened.append(first);
    return opened;
  };
  let opened: AppendLog | null = null;
  return {
    kept,
    async add(rows) {
      opened = await (log ??= open());
      for (const row of rows) opened.append({ step: ++step, ...row });
      opened.sync();
    },
    close: () => opened?.close(),
  };
}
