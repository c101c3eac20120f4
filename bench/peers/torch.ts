/** The trainee and the decoder in PyTorch, as transformers has the model, on all cores of the CPU. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { writeSafetensors } from "../../src/io/tensors/safetensors.ts";
import { llamaConfig } from "../random_llama.ts";
import { type PythonPeer, startPython } from "./python.ts";
import type { PeerTask, Trainee } from "./task.ts";

/** What torch_train.py says. */
interface Answer {
  version: string;
  value: number;
  tokens: number[][];
}

/** The task as a checkpoint that transformers opens, with its tokens and coefficients beside it. */
async function writeTask(folder: string, task: PeerTask): Promise<void> {
  const { rows, length, ids, targets, coefficients, config, shape, weights } = task;
  const sources = [...weights].map(([name, { values, shape }]) => ({
    name,
    dtype: "F32" as const,
    shape,
    bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  }));
  await writeSafetensors(join(folder, "model.safetensors"), sources);
  writeFileSync(join(folder, "config.json"), llamaConfig(shape));
  const lists = { ids: [...ids], targets: [...targets], coefficients: [...coefficients] };
  writeFileSync(join(folder, "task.json"), JSON.stringify({ rows, length, config, ...lists }));
}

/** @throws Error when this Python does not run it; it says what is missing */
async function startTorch(task: PeerTask, python: string): Promise<PythonPeer<Answer>> {
  const folder = mkdtempSync(join(tmpdir(), "grpo-torch-"));
  try {
    await writeTask(folder, task);
    return await startPython<Answer>(python, "torch_train.py", [folder, String(availableParallelism())]);
  } finally {
    rmSync(folder, { recursive: true }); // read by now
  }
}

const nameOf = ({ ready }: PythonPeer<Answer>) => `torch ${ready.version}, CPU`;

/** @param python the program that has torch and transformers */
export async function torchTrainee(task: PeerTask, python: string): Promise<Trainee> {
  const peer = await startTorch(task, python);
  return {
    name: nameOf(peer),
    usesDevice: false,
    meanLogprob: async () => (await peer.ask({ do: "mean_logprob" })).value,
    step: async () => (await peer.ask({ do: "step" })).value,
    dispose: peer.close,
  };
}

/** Greedy decoding by `generate` of transformers, keys and values kept. */
export async function torchDecoder(task: PeerTask, prompts: readonly Int32Array[], python: string) {
  const peer = await startTorch(task, python);
  const asked = prompts.map((prompt) => [...prompt]);
  return {
    name: nameOf(peer),
    async decode(count: number): Promise<Int32Array> {
      const { tokens } = await peer.ask({ do: "decode", prompts: asked, count });
      return Int32Array.from(tokens.flat());
    },
    dispose: peer.close,
  };
}
