import * as tf from "@tensorflow/tfjs";
import { groupAdvantages } from "../../../src/ops/loss/group_advantages.ts";
import { groupAdvantagesF64, type ScaleRewards } from "../../../src/rl/advantages.ts";
import { type OpCase, randomFloats } from "../case.ts";

function advantagesCase(
  groups: number,
  size: number,
  scale: ScaleRewards,
  missing: number[] = [],
  benchOnly = false,
  spread = 3,
): OpCase {
  const values = randomFloats(1, groups * size, spread);
  for (const i of missing) values[i] = NaN;
  return {
    name: `group_advantages ${groups}x${size} ${scale}${missing.length ? ` without ${missing}` : ""}${
      spread === 3 ? "" : ` of ${spread}`
    }`,
    inputs: { scores: { shape: [groups * size], values } },
    run: ({ tensors }) => [groupAdvantages(tensors.scores, size, scale)],
    twin: ({ scores }) => [groupAdvantagesF64(scores, size, scale).advantages],
    tolerance: 1e-6,
    toleranceReason: "f32 sums of at most a few hundred scores",
    benchOnly,
    bench: {
      bytes: 2 * groups * size * 4,
      plainTfjs: ({ tensors }) => {
        const scores = tensors.scores.reshape([groups, size]);
        const centred = tf.sub(scores, tf.mean(scores, 1, true));
        return [
          tf.div(centred, tf.add(tf.sqrt(tf.div(tf.sum(tf.square(centred), 1, true), size - 1)), 1e-4)),
        ];
      },
    },
  };
}

export const cases: OpCase[] = [
  advantagesCase(1, 2, "group"),
  advantagesCase(3, 7, "group"),
  advantagesCase(70, 4, "batch"),
  advantagesCase(5, 3, "none"),
  advantagesCase(4, 5, "group", [2, 5, 6, 7, 8, 9]),
  advantagesCase(4, 5, "batch", [0, 19]),
  // One score in the first group: nothing to compare it with.
  advantagesCase(3, 4, "group", [0, 1, 3]),
  // The deviation is about as large as the 1e-4 that is added to it, or 0.
  advantagesCase(3, 7, "group", [], false, 1e-4),
  advantagesCase(3, 7, "batch", [], false, 1e-4),
  advantagesCase(65, 3, "group", [], false, 0),
  advantagesCase(8, 8, "group", [], true),
  advantagesCase(256, 30, "group", [], true),
];
