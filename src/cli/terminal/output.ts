/**
 * Where a command's text goes: the one place that writes to standard output and standard error. Texts of others
 * (models, prompts, scorers, hubs, files) get no control of the terminal here, whoever put them into a line.
 */
import { escapeControls } from "../../config/controls.ts";

/** Where text goes: usually standard output. */
export interface TerminalOutput {
  write: (text: string) => void;
  isTTY: boolean;
  /** Width in columns of a terminal; left out where nothing needs to be cut. */
  columns?: number;
}

/** Width of the terminal of whoever started this process's ranks, whose output passes through mpirun; 0: none. */
export const COLUMNS_VARIABLE = "GRPO_WEBGPU_COLUMNS";

/** What this program draws with: the line cleared that is written anew, or one control that is a write of its own. */
// deno-lint-ignore no-control-regex
const DRAWING = /^(?:\r\u001b\[K|\u001b\[\??\d*[A-Za-z]$)/;

/** What a terminal is sent for a text. */
export function terminalText(text: string): string {
  const [drawing = ""] = DRAWING.exec(text) ?? [];
  return drawing + escapeControls(text.slice(drawing.length));
}

/** Writes to standard error. */
export const writeError = (text: string) => void process.stderr.write(terminalText(text));

/** Writes what a program may read, such as a script or a path: as it is, but to a terminal. */
export function writeData(text: string): void {
  process.stdout.write(process.stdout.isTTY ? terminalText(text) : text);
}

/** Of a rank beside the first, which alone talks. */
export const SILENT: TerminalOutput = { write: () => {}, isTTY: false };

/**
 * The process's standard output. A terminal that keeps what is written (of a CI service, of an editor) is none to draw
 * on.
 */
export function standardOutput(
  env: Readonly<Record<string, string | undefined>> = process.env,
): TerminalOutput {
  const write = (text: string) => void process.stdout.write(terminalText(text));
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
