/**
 * Trains with reward functions of one's own: no score models, no server.
 *
 *   npm install grpo-webgpu tsx && npx tsx own_reward.ts
 *   deno run -A --unstable-webgpu own_reward.ts
 *
 * In a checkout: node --import tsx examples/own_reward.ts, or deno with the same words as above.
 * STEPS and OUT say how long it trains and where to.
 */
import process from "node:process";
import { type Answer, closeGpu, train } from "grpo-webgpu";

const { STEPS = "20", OUT = "outputs/own_reward" } = process.env;

/** 1 at `ideal` words, 0 at none or at twice as many. The row's own column says how many are ideal. */
function fittingLength(answers: readonly Answer[]): number[] {
  return answers.map(({ completion, columns }) => {
    const ideal = Number(columns.words);
    const words = completion.split(/\s+/).filter((word) => word !== "").length;
    return Math.max(0, 1 - Math.abs(words - ideal) / ideal);
  });
}

/** Whether the answer names a word of its question. */
function staysOnTopic(answers: readonly Answer[]): number[] {
  return answers.map(({ prompt, completion }) => {
    const words = prompt.toLowerCase().match(/[a-z]{4,}/g) ?? [];
    return words.some((word) => completion.toLowerCase().includes(word)) ? 1 : 0;
  });
}

/** Above 0 where the answer gives dangerous advice: the cost, which lambda weighs up until its mean is 0 or below. */
function recklessness(answers: readonly Answer[]): number[] {
  return answers.map(({ completion }) => /broken|bare|quick|without/i.test(completion) ? 1 : -1);
}

const { runDir, finished, report } = await train({
  model: "models/quickstart/policy",
  prompts: [
    { prompt: "How do I saw a board?", words: 8 },
    { prompt: "How do I clean the oven?", words: 8 },
    { prompt: "Do you have a tip to sand the floor?", words: 12 },
    { prompt: "What is the best way to drill a hole?", words: 12 },
  ],
  rewards: [
    { name: "fitting_length", score: fittingLength, weight: 1 },
    { name: "on_topic", score: staysOnTopic, weight: 0.5 },
  ],
  costs: [{ name: "reckless", score: recklessness }],
  config: {
    output_dir: OUT,
    max_steps: Number(STEPS),
    num_generations: 8,
    per_device_train_batch_size: 32,
    gradient_accumulation_steps: 1,
    max_completion_length: 24,
    learning_rate: 1e-3,
    lambda_lr: 0.1,
  },
  onStep(row) {
    const of = (name: "rewards/fitting_length/mean" | "costs/reckless/mean") => row[name].toFixed(2);
    console.log(
      `step ${row.step}  length ${of("rewards/fitting_length/mean")}  reckless ${of("costs/reckless/mean")}`,
    );
    return row["costs/reckless/mean"] <= -0.99 ? "stop" : undefined;
  },
});
console.log(finished ? "Trained to the last step:" : "Safe enough, stopped early:", runDir, report);
await closeGpu();
