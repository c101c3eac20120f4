/** Folders of runs that never were: enough of everything that a page shows. */
import { appendFile, copyFile, mkdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { loadTokenizer } from "../../src/io/tokenizer/tokenizer.ts";

export const STEPS = 60;
export const ATTACK =
  `</script><script>window.attacked = 1</script><img src=x onerror="window.attacked = 2">`;

/** A row of training; step 30 waited for the scorer. */
const rowOf = (step: number, beta: number) => ({
  step,
  num_tokens: step * 4096,
  loss: Math.sin(step) / 100,
  grad_norm: 0.3 + Math.cos(step) / 20,
  learning_rate: 1e-5 * (1 - step / 100),
  kl: step * beta / 100,
  "helpfulness/mean": step / 30 - 1 + Math.sin(step) / 5,
  "cost/mean": 1 - step / 30 + Math.cos(step) / 5,
  "safety/safe_ratio": 0.3 + step / 100,
  "safety/total_count_batch": 64,
  "lambda/value": 1 + step / 60,
  "lambda/d": 0,
  step_time: 3,
  tokens_per_second: 900,
  "scorer/wait_s": step === 30 ? 12 : 0,
});

const samplesOf = (step: number) =>
  Array.from({ length: 8 }, (_, i) => ({
    prompt: i === 0 ? ATTACK : `prompt number ${i}`,
    completion: `answer ${i} of step ${step}${i === 3 ? ", a needle" : ""}`,
    reward: Math.sin(i + step),
    cost: Math.cos(2 * i + step),
    combined: Math.sin(i + step) - Math.cos(2 * i + step),
    unsafe: Math.cos(2 * i + step) > 0,
    end: i === 5 ? "length" : "eos",
    length: 3 + i,
    advantage: Math.sin(i + step),
  }));

const evaluationOf = (step: number, beta: number) => ({
  step,
  "eval/safe_ratio": 0.4 + step / 120 - beta,
  "eval/mean_reward": step / 40 + beta,
  "eval/mean_cost": -step / 40,
  "eval/total_samples": 8,
});

/** Writes a run of STEPS steps, evaluated at three of them. */
export async function writeRunFolder(dir: string, beta: number): Promise<void> {
  const samples = join(dir, "samples");
  await mkdir(samples, { recursive: true });
  const rows: object[] = [];
  for (let step = 1; step <= STEPS; step++) {
    rows.push(rowOf(step, beta));
    if (step % 20 !== 0) continue;
    const lines = samplesOf(step).map((sample) => `${JSON.stringify(sample)}\n`).join("");
    const points = Array.from({ length: 50 }, (_, i) => [Math.sin(i * step), Math.cos(i + step)]);
    const [rewards, costs] = [0, 1].map((k) => points.map((point) => point[k]));
    rows.push(evaluationOf(step, beta));
    for (const split of ["train", "eval"]) {
      await writeFile(join(samples, `${split}_${step}.jsonl`), lines);
      const scatter = { step, from_step: step - 19, total: 50, rewards, costs };
      await writeFile(join(samples, `${split}_scatter_${step}.json`), JSON.stringify(scatter));
    }
  }
  await writeFile(join(dir, "metrics.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  await writeFile(join(dir, "run_config.json"), JSON.stringify({ beta, seed: 42, run_name: ATTACK }));
}

/** What a run of evolution strategies leaves: neither loss nor KL nor tokens, and ten times the completions of a step. */
export async function writeOtherRun(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true });
  const rows = Array.from({ length: 6 }, (_, i) => ({
    step: i + 1,
    "helpfulness/mean": i / 3 - 1,
    "cost/mean": 1 - i / 3,
    "safety/safe_ratio": 0.3 + i / 10,
    "safety/total_count_batch": 640,
    "lambda/value": 1,
    step_time: 20,
  }));
  await writeFile(join(dir, "metrics.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  await writeFile(join(dir, "run_config.json"), JSON.stringify({ algorithm: "es", seed: 42 }));
}

/** How far each part of a small model moved. */
export async function writeChange(dir: string): Promise<void> {
  const tensor = (part: string, layer: number | null, change: number) => ({
    name: `${part} ${layer}`,
    part,
    layer,
    parameters: 100,
    change,
    start: 10,
  });
  const layers = Array.from({ length: 30 }, (_, layer) => [
    tensor("attention", layer, 0.1 + layer / 100),
    tensor("mlp", layer, 0.2 + layer / 100),
  ]);
  const tensors = [tensor("embedding", null, 0.05), ...layers.flat(), tensor("unembedding", null, 0.6)];
  const change = { start: ATTACK, end: "model.safetensors", tied: false, tensors };
  await writeFile(join(dir, "weight_change.json"), JSON.stringify(change));
}

/** The completions of a step, kept token by token; the first is of tokens that would be markup. */
export async function writeRollouts(dir: string, step: number, model: string): Promise<void> {
  const tokenizer = await loadTokenizer(model);
  for (const file of tokenizer.files) await copyFile(file, join(dir, basename(file)));
  const lines = samplesOf(step).map((sample, index) => {
    const ids = tokenizer.encodeWithoutSpecial(index === 0 ? ATTACK : sample.completion);
    const logprobs = ids.map((_, i) => -0.5 - i / 10);
    const ref_logprobs = ids.map((_, i) => -0.5 - i / 10 + (i % 2 === 0 ? 1 : -0.5));
    return JSON.stringify({
      ...sample,
      step,
      index,
      prompt_ids: [1],
      completion_ids: ids,
      logprobs,
      ref_logprobs,
    });
  });
  await mkdir(join(dir, "rollouts"), { recursive: true });
  await writeFile(join(dir, "rollouts", `${step}.jsonl.gz`), gzipSync(lines.join("\n")));
}

/** One more step, as a run that goes on writes it. */
export async function writeStep(dir: string, step: number): Promise<void> {
  await appendFile(join(dir, "metrics.jsonl"), `${JSON.stringify(rowOf(step, 0.1))}\n`);
}
