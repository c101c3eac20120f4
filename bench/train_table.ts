/** The trainees of --train as a table. Pure. */
import { alignColumns, threeDigits } from "./table.ts";
import type { TrainReport } from "./train_bench.ts";

const LEGEND = [
  "step       forward, GRPO loss, backward, clipping and AdamW over all rows, until the gradient norm is read back",
  "agreement  before anything is timed, mean log-probs and gradient norms of two steps agree to 0.1%",
  "peak       GPU buffers held at once: weights, optimizer, gradients, activations, and the library's pool",
  "x ours     over this project's figure; steps are taken in turn",
].join("\n");

export function trainTable(
  title: string,
  { parameters, rows, length, trainees, skipped }: TrainReport,
): string {
  const [own] = trainees;
  const cells = trainees.map(({ name, timing: { seconds, spread }, peakBytes, check }) => [
    name,
    threeDigits(seconds),
    spread === null ? "-" : `${Math.round(spread * 100)}%`,
    threeDigits(rows * length / seconds),
    `${threeDigits(seconds / own.timing.seconds)}x`,
    threeDigits(peakBytes / 1e6),
    `${threeDigits(peakBytes / own.peakBytes)}x`,
    check.meanLogprobs[1].toFixed(5),
    check.gradNorms[1].toFixed(5),
  ]);
  return [
    title,
    `one training step of a Llama of ${
      (parameters / 1e6).toFixed(1)
    }M parameters, ${rows} rows of ${length} tokens`,
    "",
    alignColumns([
      ["", "step s", "+-", "tokens/s", "x ours", "peak MB", "x ours", "log-prob", "gradient norm"],
      ...cells,
    ]),
    ...skipped.map(({ name, reason }) => `${name}: not run, ${reason}`),
    "",
    LEGEND,
  ].join("\n");
}
