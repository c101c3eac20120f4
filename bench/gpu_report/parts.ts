/** The parts of a GPU report, in the order of what decides most: each a process of its own with a time limit. */

export interface Part {
  name: string;
  about: string;
  /** No longer than this; what it said until then is kept. */
  limitSeconds: number;
}

/** All of it ends within this, installation and loading included. */
export const TOTAL_SECONDS = 540;

/** The sum of the limits is below TOTAL_SECONDS, so that no part takes another's time. */
export const PARTS: readonly Part[] = [
  { name: "device", about: "adapter, features, limits, matrix units", limitSeconds: 20 },
  { name: "torch", about: "PyTorch on the same card, where the machine has it", limitSeconds: 70 },
  { name: "ceilings", about: "copy, fused multiply-adds, matrix units", limitSeconds: 30 },
  {
    name: "correctness",
    about: "ops, attention, products and fused ops against their twins",
    limitSeconds: 90,
  },
  {
    name: "dispatches",
    about: "launches and barriers, JavaScript of a token, creation of pipelines",
    limitSeconds: 25,
  },
  { name: "products", about: "matrix products by rows, sizes and kernels", limitSeconds: 100 },
  { name: "attention", about: "attention forward, backward and in decoding; adapters", limitSeconds: 50 },
  { name: "rows", about: "norms, ropes, gates, log-probs, sampling, optimizer", limitSeconds: 35 },
  { name: "job", about: "a step of four layers of a 7B model, by phases", limitSeconds: 110 },
];

/** @throws RangeError when there is no such part */
export function partNamed(name: string): Part {
  const found = PARTS.find((part) => part.name === name);
  if (found) return found;
  throw new RangeError(
    `Unknown part "${name}" of the GPU report; parts: ${PARTS.map(({ name }) => name).join(", ")}`,
  );
}
