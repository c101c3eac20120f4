/** Where a command's text goes. */

/** Where text goes: usually standard output. */
export interface TerminalOutput {
  write: (text: string) => void;
  isTTY: boolean;
  /** Width in columns of a terminal; left out where nothing needs to be cut. */
  columns?: number;
}

/**
 * The process's standard output. A terminal that keeps what is written (of a CI service, of an editor) is none to draw
 * on.
 */
export function standardOutput(
  env: Readonly<Record<string, string | undefined>> = process.env,
): TerminalOutput {
  return {
    write: (text) => void process.stdout.write(text),
    isTTY: process.stdout.isTTY === true && !isSet(env.CI) && env.TERM !== "dumb",
    // Asked each time: a window may change its size.
    get columns() {
      return process.stdout.columns;
    },
  };
}

const isSet = (value: string | undefined) =>
  value !== undefined && value !== "" && value !== "0" && value !== "false";
