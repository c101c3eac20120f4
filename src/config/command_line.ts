/** How a command of this program is typed where it runs: in a checkout under Node or Deno, or installed. */

type Environment = Readonly<Record<string, string | undefined>>;

/** The words in front of a command's name, which the door (scripts/start.mjs) says. */
const CALL = "GRPO_WEBGPU_CALL";
/** Of a program that imports the package, and came through no door. */
const INSTALLED = "npx grpo-webgpu";

/**
 * A line that runs a command here: `npm run report -- runs/a`, `deno task report runs/a`,
 * `npx grpo-webgpu report runs/a`.
 * @param args words as a shell takes them
 */
export function commandLine(environment: Environment, command: string, ...args: string[]): string {
  const call = environment[CALL] || INSTALLED;
  const options = args.length > 0 && call === "npm run" ? ["--", ...args] : args;
  return [call, command, ...options].join(" ");
}

/** A word as a shell takes it. */
export function shellWord(text: string): string {
  return /^[\w./:=@%+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
