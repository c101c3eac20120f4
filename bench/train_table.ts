/** The trainees of --train as a table. Pure. */
import { alignColumns, notRun, orNone, spreadOf, threeDigits, times } from "./table.ts";
import type { TrainReport } from "./train_bench.ts";

const LEGEND = [
  "step       forward, GRPO loss, backward, clipping and AdamW over all rows, until the gradient norm is read back",
  "agreement  before anything is timed, mean log-probs and gradient norms of two steps agree to 0.1%",
  "peak       GPU buffers held at once: weights, optimizer, gradients, activations, and the library's pool",
  "x ours     over this project's figure; steps are taken in turn",
].join("\n");

export function trainTable(title: string, report: TrainReport): string {
  const { parameters, rows, length, trainees, skipped } = report;
  const [own] = trainees;
  const cells = trainees.map(({ name, timing, peakBytes, check }) => [
    name,
    threeDigits(timing.seconds),
    spreadOf(timing),
    threeDigits(rows * length / timing.seconds),
    times(timing.seconds / own.timing.seconds),
    orNone(peakBytes === null ? null : peakBytes / 1e6),
    orNone(peakBytes === null || own.peakBytes === null ? null : peakBytes / own.peakBytes, times),
    check.meanLogprobs[1].toFixed(5),
    check.gradNorms[1].toFixed(5),
  ]);
  const millions = (parameters / 1e6).toFixed(1);
  return [
    title,
    `one training step of a Llama of ${millions}M parameters, ${rows} rows of ${length} tokens`,
    "",
    alignColumns([
      ["", "step s", "+-", "tokens/s", "x ours", "peak MB", "x ours", "log-prob", "gradient norm"],
      ...cells,
    ]),
    ...skipped.map(notRun),
    "",
    LEGEND,
  ].join("\n");
}
