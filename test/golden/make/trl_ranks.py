"""Pins optimizer steps of several processes to TRL: writes test/golden/trl_ranks/.

GRPOTrainer trains the model of trl_steps.py in two processes (accelerate, gloo, CPU) on given completions, rewards and
costs. Each process has six completions of groups of four, so that the second of three groups lies in both. Kept: the
parameters after each run, which both processes have, and what process 0 logged.

    python test/golden/make/trl_ranks.py
"""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import accelerate
import datasets
import torch
import transformers
import trl
from safetensors.torch import save_file
from trl import GRPOConfig
from trl.trainer import grpo_trainer

import trl_steps
from trl_steps import AdaptiveReward, GROUP, MAX_COMPLETION, RecordingTrainer, SEED, draw_rollouts, reorder

PROCESSES = 2
# shuffledOrder() of src/rl/rng.ts with seed 3, of optimizer steps 1 and 3; the test checks it. Both processes have it.
DRAWN = [[2, 0, 4, 1, 5, 3], [4, 1, 0, 5, 2, 3]]

COMMON = {
    "warmup_steps": 0, "mask_truncated_completions": False, "importance_sampling_level": "token", "num_iterations": 1,
    "per_device_train_batch_size": 3, "steps_per_generation": 2, "epsilon": 0.2, "epsilon_high": 0.28,
}
RUNS = {
    "grpo": {
        **COMMON, "learning_rate": 2e-3, "lr_scheduler_type": "linear", "max_steps": 3, "weight_decay": 0.1,
        "max_grad_norm": 0.4, "beta": 0.04, "loss_type": "grpo", "scale_rewards": "group", "temperature": 0.9,
        "gradient_accumulation_steps": 2, "adam_beta1": 0.8, "adam_beta2": 0.99,
        "adam_epsilon": 1e-4,
    },
    "dapo": {
        **COMMON, "learning_rate": 1e-3, "lr_scheduler_type": "cosine", "max_steps": 3, "weight_decay": 0.0,
        "max_grad_norm": 1.0, "beta": 0.1, "loss_type": "dapo", "scale_rewards": "batch", "temperature": 0.7,
        "gradient_accumulation_steps": 2, "mask_truncated_completions": True,
        "adam_beta1": 0.9, "adam_beta2": 0.95, "adam_epsilon": 1e-4,
    },
    "bnpo": {
        **COMMON, "learning_rate": 1e-3, "lr_scheduler_type": "constant", "max_steps": 4, "weight_decay": 0.0,
        "max_grad_norm": 100.0, "beta": 0.05, "loss_type": "bnpo", "scale_rewards": "none", "temperature": 1.0,
        "gradient_accumulation_steps": 1, "adam_beta1": 0.9, "adam_beta2": 0.99,
        "adam_epsilon": 1e-4,
    },
}


def per_generation(settings):
    """Prompts of a generation batch over all processes."""
    return settings["per_device_train_batch_size"] * settings["steps_per_generation"] * PROCESSES // GROUP


def generations_of(settings):
    return settings["max_steps"] * settings["gradient_accumulation_steps"] // (
        settings["steps_per_generation"] * settings["num_iterations"])


def orders_of(settings):
    """Of each process' completions, generation by generation."""
    count = settings["per_device_train_batch_size"] * settings["steps_per_generation"]
    is_cut = settings["steps_per_generation"] > settings["gradient_accumulation_steps"]
    return DRAWN if is_cut else [list(range(count))] * generations_of(settings)


class ShareOfRollouts:
    """rollout_func of a process: the completions at its places, which TRL's sampler says by their prompts."""

    def __init__(self, rollouts, settings, reward):
        self.rollouts, self.settings, self.reward = rollouts, settings, reward
        self.handed = 0

    def __call__(self, prompts, trainer):
        count = per_generation(self.settings)
        batch = self.rollouts[self.handed * count:(self.handed + 1) * count]
        self.handed += 1
        places = [(r["prompt"], c) for r in batch for c in r["completions"]]
        first = trainer.accelerator.process_index * len(prompts)
        own = places[first:first + len(prompts)]
        # A process has a run of the batch's completions, whole groups or not.
        words = [" ".join(f"t{i}" for i in prompt) for prompt, _ in own]
        if words != list(prompts) or len(prompts) * PROCESSES != len(places):
            raise AssertionError(f"process {trainer.accelerator.process_index} was given {prompts}, not {words}")
        # Lambda follows the costs of all processes; the reward function returns this one's share of the scores.
        self.reward.pending = [(c["reward"], c["cost"]) for _, c in places]
        self.reward.share = slice(first, first + len(prompts))
        return {
            "prompt_ids": [prompt for prompt, _ in own],
            "completion_ids": [c["ids"] for _, c in own],
            "logprobs": None,
        }


class SharedReward(AdaptiveReward):
    def __call__(self, prompts, completions, **kwargs):
        return super().__call__(prompts, completions, **kwargs)[self.share]


def dataset_of(rollouts):
    return datasets.Dataset.from_list([{"prompt": " ".join(f"t{i}" for i in r["prompt"])} for r in rollouts])


def train(name, before, out):
    """In each process; process 0 writes."""
    settings = RUNS[name]
    rollouts = draw_rollouts(generations_of(settings), per_generation(settings))
    reward = SharedReward()
    orders = iter(orders_of(settings))
    grpo_trainer.shuffle_sequence_dict = lambda batch: reorder(batch, next(orders))
    args = GRPOConfig(
        output_dir=str(out / "trainer"), num_generations=GROUP, max_completion_length=MAX_COMPLETION,
        use_cpu=True, bf16=False, fp16=False, gradient_checkpointing=False, report_to=[], logging_steps=1,
        save_strategy="no", shuffle_dataset=False, disable_tqdm=True, seed=SEED, optim="adamw_torch",
        model_init_kwargs={"dtype": "float32", "attn_implementation": "eager"}, **settings,
    )
    trainer = RecordingTrainer(
        model=str(before), reward_funcs=reward, args=args, processing_class=trl_steps.word_tokenizer(),
        rollout_func=ShareOfRollouts(rollouts, settings, reward), train_dataset=dataset_of(rollouts),
    )
    trainer.kept = []
    trainer.train()
    if trainer.accelerator.num_processes != PROCESSES:
        raise AssertionError(f"{trainer.accelerator.num_processes} processes, need {PROCESSES}")
    model = trainer.accelerator.unwrap_model(trainer.model)
    parameters = {k: v.detach().contiguous() for k, v in model.named_parameters()}
    rank = trainer.accelerator.process_index
    save_file(parameters, out / f"{name}_after_{rank}.safetensors")
    trainer.accelerator.wait_for_everyone()
    if rank == 0:
        steps = [{key: kept[key] for key in ("loss", "grad_norm", "learning_rate")} for kept in trainer.kept]
        run = {"settings": settings, "rollouts": rollouts, "orders": orders_of(settings), "steps": steps,
               "lambda": reward.value}
        (out / f"{name}.json").write_text(json.dumps(run))


def launch(name, before, scratch):
    """Two processes over gloo, as `accelerate launch --num_processes 2` starts them where there are GPUs."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(PROCESSES), "--standalone",
               __file__, name, str(before), str(scratch)]
    subprocess.run(command, check=True, env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1",
                                             "TRL_EXPERIMENTAL_SILENCE": "1"})
    after = [(scratch / f"{name}_after_{rank}.safetensors").read_bytes() for rank in range(PROCESSES)]
    if len(set(after)) != 1:
        raise AssertionError(f"{name}: the processes ended with different parameters")
    return json.loads((scratch / f"{name}.json").read_text())


def main(out=pathlib.Path(__file__).parents[1]):
    folder = out / "trl_ranks"
    folder.mkdir(exist_ok=True)
    before = out / "trl_steps" / "before"
    with tempfile.TemporaryDirectory() as scratch:
        runs = {name: launch(name, before, pathlib.Path(scratch)) for name in RUNS}
        for name in RUNS:
            shutil.copy(pathlib.Path(scratch) / f"{name}_after_0.safetensors", folder / f"{name}_after.safetensors")
    golden = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__,
                     "accelerate": accelerate.__version__},
        "seed": SEED, "processes": PROCESSES, "group": GROUP, "maxCompletionLength": MAX_COMPLETION,
        "lambda": trl_steps.LAMBDA, "runs": runs,
    }
    (folder / "steps.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 4:
        torch.set_num_threads(1)
        train(sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
    else:
        main()
