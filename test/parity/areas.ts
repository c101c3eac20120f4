/** The areas of docs/parity.md, in its order. */
import type { ParityLine } from "./line.ts";

export interface ParityArea {
  title: string;
  lines: ParityLine[];
}

export const parityAreas: ParityArea[] = [];
