import * as tf from "@tensorflow/tfjs";
import { type FinalLogits, finalLogits, finalLogitsF64 } from "../../../src/ops/head/final_logits.ts";
import { type OpCase, uniform } from "../case.ts";

/** What a case's name says of logits that are not the head's product as it is. */
export const finalText = ({ softcap, divisor }: FinalLogits) =>
  [softcap && ` softcap ${softcap}`, divisor && ` divisor ${divisor}`].map((text) => text ?? "").join("");

function finalLogitsCase(rows: number, vocab: number, scale: number, options: FinalLogits): OpCase {
  const { softcap, divisor = 1 } = options;
  return {
    name: `final_logits ${rows}x${vocab} to ${scale}${finalText(options)}`,
    inputs: { x: uniform(1, [rows, vocab], scale) },
    run: ({ tensors: { x } }) => [finalLogits(x, options)],
    twin: ({ x }) => [finalLogitsF64(x, options).logits],
    tolerance: 1e-6,
    toleranceReason: "WGSL lets exp err by 3 + 2|x| ulp, and a division by 2.5",
    bench: {
      bytes: 8 * rows * vocab,
      plainTfjs: ({ tensors: { x } }) => {
        const divided = tf.div(x, divisor);
        return [softcap === undefined ? divided : tf.mul(tf.tanh(tf.div(divided, softcap)), softcap)];
      },
    },
  };
}

export const cases: OpCase[] = [
  finalLogitsCase(1, 1, 4, { softcap: 30 }),
  finalLogitsCase(7, 101, 40, { softcap: 30, divisor: 2 }),
  finalLogitsCase(4, 257, 2000, { softcap: 30 }),
  // Below and around where the series ends.
  finalLogitsCase(5, 64, 12, { softcap: 50 }),
  finalLogitsCase(5, 64, 0.01, { softcap: 50 }),
  finalLogitsCase(3, 35, 4, { divisor: 8 }),
  finalLogitsCase(5, 500, 4, { divisor: 0.3 }),
];
