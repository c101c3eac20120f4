/** Where a command's text goes. */

/** Where text goes: usually standard output. */
export interface TerminalOutput {
  write: (text: string) => void;
  isTTY: boolean;
  /** Width in characters; 80 when left out. */
  columns?: number;
}

/** The process's standard output as it is now. */
export function standardOutput(): TerminalOutput {
  return {
    write: (text) => void process.stdout.write(text),
    isTTY: process.stdout.isTTY === true,
    columns: process.stdout.columns,
  };
}
