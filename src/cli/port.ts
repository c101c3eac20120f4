/** A port as options give it. */
import { InvalidArgumentError } from "commander";

/** @throws InvalidArgumentError when it is none; 0 stands for a free one */
export function portNumber(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : NaN;
  if (port <= 65_535) return port;
  throw new InvalidArgumentError("Need a whole number from 0 to 65535.");
}
