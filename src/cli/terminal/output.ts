/** Where a command's text goes. */

/** Where text goes: usually standard output. */
export interface TerminalOutput {
  write: (text: string) => void;
  isTTY: boolean;
  /** Width in columns of a terminal; left out where nothing needs to be cut. */
  columns?: number;
}

/** Width of the terminal of whoever started this process's ranks, whose output passes through mpirun; 0: none. */
export const COLUMNS_VARIABLE = "GRPO_WEBGPU_COLUMNS";

/** Of a rank beside the first, which alone talks. */
export const SILENT: TerminalOutput = { write: () => {}, isTTY: false };

/**
 * The process's standard output. A terminal that keeps what is written (of a CI service, of an editor) is none to draw
 * on.
 */
export function standardOutput(
  env: Readonly<Record<string, string | undefined>> = process.env,
): TerminalOutput {
  const write = (text: string) => void process.stdout.write(text);
  const passedOn = env[COLUMNS_VARIABLE];
  if (passedOn !== undefined) {
    return { write, isTTY: Number(passedOn) > 0, columns: Number(passedOn) || undefined };
  }
  return {
    write,
    isTTY: process.stdout.isTTY === true && !isSet(env.CI) && env.TERM !== "dumb",
    // Asked each time: a window may change its size.
    get columns() {
      return process.stdout.columns;
    },
  };
}

const isSet = (value: string | undefined) =>
  value !== undefined && value !== "" && value !== "0" && value !== "false";
