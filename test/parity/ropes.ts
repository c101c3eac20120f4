/** Models whose rope is scaled, against transformers (golden/make/ropes.py). */
import { readFileSync } from "node:fs";
import { expectedOf, logitsOf, withPolicy } from "./golden_models.ts";
import { type ParityLine, worstOfRowMax } from "./line.ts";

const ROOT = new URL("../golden/ropes/", import.meta.url);

const { models }: { models: { name: string; sequences: number[][] }[] } = JSON.parse(
  readFileSync(new URL("ropes.json", ROOT), "utf8"),
);

async function worstOfRopes(): Promise<number> {
  let worst = 0;
  for (const { name, sequences } of models) {
    const expected = (await expectedOf(name, ROOT)).get("logits")!;
    const error = await withPolicy(
      name,
      false,
      async (policy) => worstOfRowMax(await logitsOf(policy, sequences), expected, policy.config.vocabSize),
      ROOT,
    );
    worst = Math.max(worst, error);
  }
  return worst;
}

export const lines: ParityLine[] = [
  {
    what:
      "Logits of sequences of 1 to 100 tokens under a dynamic rope, yarn and longrope, each up to where it is " +
      "one rope for all sequences",
    reference: "transformers, f32, each sequence alone",
    measure: "of the row's max",
    limit: 3e-5,
    worst: worstOfRopes,
  },
];
