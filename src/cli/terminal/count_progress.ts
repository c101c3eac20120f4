/** Progress that counts: one line that is drawn over on a terminal, else a line each. */
import type { TerminalOutput } from "./output.ts";

export interface CountProgress {
  /** @param isEnd the last line of this count, which stays */
  update(line: string, isEnd: boolean): void;
  /** What ends before its count starts on a line of its own. */
  close(): void;
}

export function countProgress(output: TerminalOutput): CountProgress {
  let isOpen = false;
  return {
    update(line, isEnd) {
      isOpen = output.isTTY && !isEnd;
      output.write(output.isTTY ? `\r\x1b[K${line}${isEnd ? "\n" : ""}` : `${line}\n`);
    },
    close() {
      if (isOpen) output.write("\n");
      isOpen = false;
    },
  };
}
