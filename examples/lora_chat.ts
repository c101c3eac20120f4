/**
 * Trains a LoRA adapter on a chat model, then talks to what came out.
 *
 *   npx tsx lora_chat.ts FOLDER_OR_HUB_ID            (a Llama, Qwen, Mistral, ... in Hugging Face layout)
 *   deno run -A --unstable-webgpu lora_chat.ts FOLDER_OR_HUB_ID
 *
 * In a checkout: node --import tsx examples/lora_chat.ts models/quickstart/policy
 * STEPS, TOKENS and OUT say how long it trains, how long an answer may be, and where the run goes.
 */
import process from "node:process";
import { type Answer, closeGpu, loadPolicy, train } from "grpo-webgpu";

const [model = "models/quickstart/policy"] = process.argv.slice(2);
const { STEPS = "30", TOKENS = "48", OUT = "outputs/lora_chat" } = process.env;
const QUESTIONS = [
  "How do I fix a tap?",
  "How do I paint a door?",
  "What can I cook today?",
  "Tell me a joke.",
];

/** Answers that end by themselves in one or two whole sentences. */
function concise(answers: readonly Answer[]): number[] {
  return answers.map(({ completion }) => {
    const sentences = completion.match(/[^.!?]+[.!?]/g)?.length ?? 0;
    return (sentences === 1 || sentences === 2 ? 1 : 0) + (/[.!?]\s*$/.test(completion) ? 0.5 : 0);
  });
}

const { runDir, finished } = await train({
  model,
  prompts: QUESTIONS,
  rewards: [{ name: "concise", score: concise }],
  config: {
    output_dir: OUT,
    use_peft: true,
    lora_r: 8,
    lora_alpha: 16,
    lora_target_modules: "all-linear",
    max_steps: Number(STEPS),
    num_generations: 4,
    per_device_train_batch_size: 16,
    gradient_accumulation_steps: 1,
    max_completion_length: Number(TOKENS),
    learning_rate: 1e-3,
    beta: 0.02,
  },
  onStep: (row) => console.log(`step ${row.step}  concise ${row["rewards/concise/mean"].toFixed(2)}`),
  onMessage: (text) => console.log(text),
});

if (finished) {
  // The run's folder is a PEFT adapter, which stands for its base model and itself.
  const policy = await loadPolicy(runDir);
  for (
    const { promptIndex, completion } of await policy.generate(QUESTIONS, {
      max_completion_length: Number(TOKENS),
    })
  ) {
    console.log(`${QUESTIONS[promptIndex]}\n  ${completion.trim()}`);
  }
  policy.dispose();
}
await closeGpu();
