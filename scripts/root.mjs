// What is done as root: it is said first, and asked where sudo would give more rights than the user has at hand.
import process from "node:process";
import { createInterface } from "node:readline/promises";

/** The option of every task, and its variable, with which nothing is asked. */
export const YES_OPTION = "--yes";
const YES_VARIABLE = "GRPO_WEBGPU_YES";

/**
 * Takes --yes out of a task's words, wherever it stands in front of a "--".
 * @param {string[]} words of the command line
 * @param {Record<string, string | undefined>} env where it is kept; npm keeps one that is typed without "--" there
 */
export function takeYes(words, env) {
  const at = words.indexOf(YES_OPTION);
  if (at >= 0) words.splice(at, 1);
  if (at >= 0 || env.npm_config_yes === "true") env[YES_VARIABLE] = "1";
}

/** @param {string | undefined} value of an environment variable */
const isOn = (value) => value !== undefined && !["", "0", "false"].includes(value);

/**
 * Whether what was said may be run by sudo. A CI service has nobody to ask, and its machines are its own.
 * @param {Record<string, string | undefined>} env
 * @param {() => Promise<string>} ask puts the question; only where there is a terminal
 * @param {boolean} isTerminal
 */
export async function mayUseRoot(env, isTerminal, ask = askOnTerminal) {
  if (isOn(env[YES_VARIABLE]) || isOn(env.CI)) return true;
  return isTerminal && /^(y|yes|)$/i.test((await ask()).trim());
}

async function askOnTerminal() {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return await terminal.question("Run this with sudo? [Y/n] ");
  } finally {
    terminal.close();
  }
}
