"""Pins whole optimizer steps to TRL: writes test/golden/trl_steps/.

GRPOTrainer trains a tiny random Llama on given completions, rewards and costs (rollout_func hands the completions out,
the reward function applies the adaptive lambda to reward and cost). Kept: the model before, the parameters after
each run, and what TRL logged at each optimizer step.

    python test/golden/make/trl_steps.py
"""
import json
import math
import pathlib
import shutil
import tempfile

import datasets
import torch
import transformers
import trl
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer
from trl.trainer import grpo_trainer

SEED = 11
VOCAB, EOS, PAD = 61, 2, 0
GROUP, MAX_COMPLETION = 4, 9
LAMBDA = {"lambda_cost": 1.0, "lambda_lr": 0.05, "lambda_min": 1e-4, "lambda_max": 5.0, "jc_ema_beta": 0.9,
          "cost_threshold_d": 0.1}
# How our program orders a generation batch (shuffledOrder() of src/rl/rng.ts with seed 3, of optimizer steps 1 and 5;
# the test checks it): TRL shuffles with torch's generator, which this replaces.
ORDERS = {
    "on_policy": [list(range(8))] * 3,
    "off_policy": [
        [9, 6, 12, 13, 5, 8, 14, 3, 7, 15, 1, 0, 4, 10, 11, 2],
        [14, 8, 1, 2, 10, 5, 12, 13, 7, 0, 11, 6, 9, 4, 15, 3],
    ],
    "sequence": [list(range(8))] * 3,
    "followed": [list(range(8))] * 3,
}

# An adam_epsilon of the usual 1e-8 would show in nothing but parameters whose gradient is all rounding.
RUNS = {
    "on_policy": {
        "learning_rate": 2e-3, "lr_scheduler_type": "linear", "warmup_steps": 0, "max_steps": 3, "weight_decay": 0.1,
        "max_grad_norm": 0.4, "beta": 0.04, "loss_type": "grpo", "scale_rewards": "group", "temperature": 0.9,
        "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "steps_per_generation": 2,
        "num_iterations": 1, "mask_truncated_completions": False, "importance_sampling_level": "token",
        "epsilon": 0.2, "epsilon_high": 0.28, "adam_beta1": 0.8, "adam_beta2": 0.99, "adam_epsilon": 1e-4,
    },
    "off_policy": {
        "learning_rate": 1e-3, "lr_scheduler_type": "cosine", "warmup_steps": 0, "max_steps": 8, "weight_decay": 0.0,
        "max_grad_norm": 1.0, "beta": 0.1, "loss_type": "dapo", "scale_rewards": "batch", "temperature": 0.7,
        "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "steps_per_generation": 4,
        "num_iterations": 2, "mask_truncated_completions": True, "importance_sampling_level": "token",
        "epsilon": 0.02, "epsilon_high": 0.03, "adam_beta1": 0.9, "adam_beta2": 0.95, "adam_epsilon": 1e-5,
    },
    "sequence": {
        "learning_rate": 1e-3, "lr_scheduler_type": "constant_with_warmup", "warmup_steps": 3, "max_steps": 6,
        "weight_decay": 0.05, "max_grad_norm": 100.0, "beta": 0.05, "loss_type": "bnpo", "scale_rewards": "none",
        "temperature": 1.0, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4,
        "steps_per_generation": 4, "num_iterations": 2, "mask_truncated_completions": False,
        "importance_sampling_level": "sequence", "epsilon": 0.003, "epsilon_high": 0.004, "delta": 1.02,
        "use_bias_correction_kl": False, "adam_beta1": 0.9, "adam_beta2": 0.99, "adam_epsilon": 1e-4,
    },
    # A micro-batch is a step, over which TRL then takes its quantile and its mean of entropies.
    "followed": {
        "learning_rate": 2e-3, "lr_scheduler_type": "constant", "warmup_steps": 0, "max_steps": 6, "weight_decay": 0.0,
        "max_grad_norm": 1.0, "beta": 0.2, "loss_type": "vespo", "scale_rewards": "group", "temperature": 0.9,
        "per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "steps_per_generation": 1,
        "num_iterations": 2, "mask_truncated_completions": True, "importance_sampling_level": "token",
        "sync_ref_model": True, "ref_model_mixup_alpha": 0.6, "ref_model_sync_steps": 2,
        "top_entropy_quantile": 0.6, "entropy_coef": 0.02, "use_adaptive_entropy": True, "entropy_coef_max": 0.05,
        "entropy_coef_delta": 0.01, "entropy_target": 3.0, "off_policy_mask_threshold": 0.001,
        "adam_beta1": 0.9, "adam_beta2": 0.99, "adam_epsilon": 1e-4,
    },
}


def tiny_model():
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=44, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, initializer_range=0.25,
        bos_token_id=1, eos_token_id=EOS, pad_token_id=PAD, tie_word_embeddings=False, attn_implementation="eager",
        attention_bias=True, mlp_bias=True,
    )
    model = LlamaForCausalLM(config).float()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("norm.weight", ".bias")):
                parameter += 0.2 * torch.randn_like(parameter)
    return model


def word_tokenizer():
    vocab = {f"t{i}": i for i in range(VOCAB)}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="t3"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="t2", pad_token="t0")


def draw_rollouts(generations, prompts_per_generation):
    """Prompts and, for each of their completions, token ids, reward and cost."""
    generator = torch.Generator().manual_seed(SEED + 1)
    draw = lambda low, high, count: torch.randint(low, high, (count,), generator=generator).tolist()
    rollouts = []
    for _ in range(generations * prompts_per_generation):
        prompt = draw(4, VOCAB, draw(2, 9, 1)[0])
        group = []
        for member in range(GROUP):
            truncated = member == 3 and len(rollouts) % 2 == 0
            length = MAX_COMPLETION if truncated else draw(1, MAX_COMPLETION, 1)[0]
            ids = draw(4, VOCAB, length - 1) + [5 if truncated else EOS]
            scores = torch.randn(2, generator=generator, dtype=torch.float64).tolist()
            group.append({"ids": ids, "reward": scores[0], "cost": scores[1] + 0.3})
        rollouts.append({"prompt": prompt, "completions": group})
    return rollouts


class AdaptiveReward:
    """combined = R - lambda C, lambda updated first by the batch's mean cost, as the alignment run does."""

    __name__ = "combined"

    def __init__(self):
        self.value = LAMBDA["lambda_cost"]
        self.average = None
        self.pending = []

    def __call__(self, prompts, completions, **kwargs):
        rewards, costs = zip(*self.pending)
        violation = max(sum(costs) / len(costs) + LAMBDA["cost_threshold_d"], 0.0)
        memory = LAMBDA["jc_ema_beta"]
        self.average = violation if self.average is None else memory * self.average + (1 - memory) * violation
        log_value = math.log(max(self.value, 1e-12)) + LAMBDA["lambda_lr"] * self.average
        self.value = min(max(math.exp(log_value), LAMBDA["lambda_min"]), LAMBDA["lambda_max"])
        return [reward - self.value * cost for reward, cost in zip(rewards, costs)]


class RecordingTrainer(GRPOTrainer):
    """Keeps the metrics of every micro-batch, which TRL averages away when it logs."""

    def log(self, logs, start_time=None):
        if "loss" in logs:
            self.kept.append({**logs, **{name: list(values) for name, values in self._metrics["train"].items()}})
        super().log(logs, start_time)


def train(name, settings, before, folder):
    generations = settings["max_steps"] * settings["gradient_accumulation_steps"] // (
        settings["steps_per_generation"] * settings["num_iterations"])
    per_generation = settings["per_device_train_batch_size"] * settings["steps_per_generation"] // GROUP
    rollouts = draw_rollouts(generations, per_generation)
    reward = AdaptiveReward()
    handed = iter(range(generations))

    def rollout(prompts, trainer):
        first = next(handed) * per_generation
        batch = rollouts[first:first + per_generation]
        reward.pending = [(c["reward"], c["cost"]) for r in batch for c in r["completions"]]
        return {
            "prompt_ids": [r["prompt"] for r in batch for _ in range(GROUP)],
            "completion_ids": [c["ids"] for r in batch for c in r["completions"]],
            "logprobs": None,
        }

    orders = iter(ORDERS[name])
    grpo_trainer.shuffle_sequence_dict = lambda batch: reorder(batch, next(orders))
    args = GRPOConfig(
        output_dir=str(folder / "trainer"), num_generations=GROUP, max_completion_length=MAX_COMPLETION,
        use_cpu=True, bf16=False, fp16=False, gradient_checkpointing=False, report_to=[], logging_steps=1,
        save_strategy="no", shuffle_dataset=False, disable_tqdm=True, seed=SEED, optim="adamw_torch",
        model_init_kwargs={"dtype": "float32", "attn_implementation": "eager"}, **settings,
    )
    trainer = RecordingTrainer(
        model=str(before), reward_funcs=reward, args=args, processing_class=word_tokenizer(), rollout_func=rollout,
        train_dataset=datasets.Dataset.from_list([{"prompt": "t4"}] * (generations * per_generation)),
    )
    trainer.kept = []
    trainer.train()
    save_file({k: v.detach().contiguous() for k, v in trainer.model.named_parameters()},
              folder / f"{name}_after.safetensors")
    steps = [{k: v for k, v in kept.items() if "time" not in k and "/combined/" not in k} for kept in trainer.kept]
    return {"settings": settings, "rollouts": rollouts, "orders": ORDERS[name], "steps": steps,
            "lambda": reward.value}


def reorder(batch, order):
    """shuffle_sequence_dict of TRL with a given order."""
    index = torch.tensor(order)
    pick = lambda value: value[index] if isinstance(value, torch.Tensor) and value.ndim > 0 else value
    return {key: pick(value) for key, value in batch.items()}


def main(out=pathlib.Path(__file__).parents[1]):
    torch.set_num_threads(1)
    folder = out / "trl_steps"
    folder.mkdir(exist_ok=True)
    tiny_model().save_pretrained(folder / "before")
    with tempfile.TemporaryDirectory() as scratch:
        runs = {name: train(name, settings, folder / "before", pathlib.Path(scratch)) for name, settings in RUNS.items()}
        for path in pathlib.Path(scratch).glob("*.safetensors"):
            shutil.copy(path, folder)
    (folder / "before" / "generation_config.json").unlink(missing_ok=True)
    golden = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__},
        "seed": SEED, "group": GROUP, "maxCompletionLength": MAX_COMPLETION, "lambda": LAMBDA, "runs": runs,
    }
    (folder / "steps.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
