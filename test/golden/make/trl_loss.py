"""Pins the GRPO loss to TRL's own code: writes test/golden/trl_loss.json.

GRPOTrainer._compute_loss runs on given log-probs (a leaf tensor in float64 in place of the model's), one call per
micro-batch of an optimizer step, its losses summed as the Trainer sums them. So loss, gradient with respect to the
log-probs and logged metrics are TRL's, not a restatement. The ratios that correct for the sampler, and what is logged of
them, are made by the lines of GRPOTrainer._generate_and_score_completions that make them.

    python test/golden/make/trl_loss.py
"""
import collections
import inspect
import itertools
import json
import math
import pathlib
import textwrap
import types

import torch
import transformers
import trl
from trl import GRPOTrainer

SEED = 7
COMPLETIONS, TOKENS = 8, 11
# Lengths up to and including the EOS; those of TOKENS are cut off at the limit, hence without one.
LENGTHS = [11, 3, 1, 8, 11, 6, 2, 9]
TRUNCATED = [True, False, False, False, True, False, False, False]
DEFAULTS = {
    "loss_type": "grpo", "importance_sampling_level": "token", "beta": 0.04, "epsilon": 0.2, "epsilon_high": None,
    "delta": None, "mask_truncated_completions": False, "gradient_accumulation_steps": 1, "steps_per_generation": 1,
    "use_bias_correction_kl": True, "on_policy": False, "importance_sampling_correction": False,
    "importance_sampling_mode": "sequence_mask", "importance_sampling_clip_min": None,
    "importance_sampling_clip_max": 3.0,
    "sapo_temperature_neg": 1.05, "sapo_temperature_pos": 1.0,
    "vespo_k_pos": 2.0, "vespo_lambda_pos": 3.0, "vespo_k_neg": 3.0, "vespo_lambda_neg": 2.0,
    "off_policy_mask_threshold": None, "top_entropy_quantile": 1.0, "entropy_coef": 0.0,
}
GATES = [name for name in DEFAULTS if name.startswith(("sapo_", "vespo_"))]


class OneProcess:
    """What _compute_loss asks of accelerate, for a single process."""

    num_processes = 1
    sync_gradients = True

    def gather(self, tensor):
        return tensor

    def reduce(self, tensor, reduction):
        return tensor

    def pad_across_processes(self, tensor, dim, pad_index):
        return tensor


def trainer_stub(case, max_completion_length):
    trainer = GRPOTrainer.__new__(GRPOTrainer)
    trainer.args = types.SimpleNamespace(
        delta=case["delta"], use_bias_correction_kl=case["use_bias_correction_kl"],
        steps_per_generation=case["steps_per_generation"], **{name: case[name] for name in GATES},
    )
    trainer.model = types.SimpleNamespace(training=True)
    trainer.accelerator = OneProcess()
    trainer.loss_type = case["loss_type"]
    trainer.importance_sampling_level = case["importance_sampling_level"]
    trainer.beta = case["beta"]
    trainer.epsilon_low = case["epsilon"]
    trainer.epsilon_high = case["epsilon"] if case["epsilon_high"] is None else case["epsilon_high"]
    trainer.max_completion_length = max_completion_length
    trainer.current_gradient_accumulation_steps = case["gradient_accumulation_steps"]
    trainer.top_entropy_quantile = case["top_entropy_quantile"]
    trainer.off_policy_mask_threshold = case["off_policy_mask_threshold"]
    trainer.use_vllm = case["importance_sampling_correction"]
    trainer.vllm_importance_sampling_correction = True
    for name in ("mode", "clip_min", "clip_max"):
        setattr(trainer, f"vllm_importance_sampling_{name}", case[f"importance_sampling_{name}"])
    trainer.aux_loss_enabled = False
    trainer.entropy_coef = case["entropy_coef"]
    trainer.use_adaptive_entropy = False
    trainer._entropy_bonus_enabled = trainer.entropy_coef != 0.0
    trainer._metrics = {"train": collections.defaultdict(list)}
    return trainer


def make_tensors():
    generator = torch.Generator().manual_seed(SEED)
    shape = (COMPLETIONS, TOKENS)
    normal = lambda spread: spread * torch.randn(shape, generator=generator, dtype=torch.float64)
    logps = -(2 * torch.rand(shape, generator=generator, dtype=torch.float64)) - 0.05
    mask = (torch.arange(TOKENS) < torch.tensor(LENGTHS).unsqueeze(1)).int()
    round32 = lambda tensor: tensor.float().double()  # exact in f32, so that the kernel gets the same numbers
    return {
        "logprobs": round32(logps),
        "oldLogprobs": round32(logps + normal(0.25)),
        "refLogprobs": round32(logps + normal(0.4)),
        "entropies": round32(2 + normal(0.5)),
        "advantages": round32(torch.randn(COMPLETIONS, generator=generator, dtype=torch.float64)),
        "mask": mask,
        "samplerLogprobs": round32(logps + normal(0.1)),
    }


def trl_lines(first, end):
    """Lines of TRL's method from the one that begins with `first` to the one before that which begins with `end`."""
    lines = inspect.getsource(GRPOTrainer._generate_and_score_completions).splitlines()
    begin = next(i for i, line in enumerate(lines) if line.strip().startswith(first))
    stop = next(i for i in range(begin, len(lines)) if lines[i].strip().startswith(end))
    return compile(textwrap.dedent("\n".join(lines[begin:stop])), "grpo_trainer", "exec")


SAMPLER_RATIO = trl_lines("mask = completion_mask if tool_mask", "# Compute the per-token log probabilities for the ref")
SAMPLER_METRICS = trl_lines("delta = torch.abs(old_per_token_logps", "output = {")


def sampler_ratio(trainer, case, tensors, mask):
    """TRL's ratios, and what it logs of them, over all completions at once."""
    place = {
        "self": trainer, "torch": torch, "math": math, "tool_mask": None, "completion_mask": mask, "mode": "train",
        "device": "cpu", "nanmin": trl.trainer.utils.nanmin, "nanmax": trl.trainer.utils.nanmax,
        "old_per_token_logps": tensors["logprobs" if case["on_policy"] else "oldLogprobs"],
        "sampling_per_token_logps": tensors["samplerLogprobs"],
    }
    exec(SAMPLER_RATIO, place)
    exec(SAMPLER_METRICS, place)
    logged = {name: values[0] for name, values in trainer._metrics["train"].items()}
    trainer._metrics["train"].clear()
    return place["vllm_importance_sampling_ratio"], logged


def run_case(case, tensors):
    """The optimizer step that trains on all completions; its generation batch may hold as much again."""
    trainer = trainer_stub(case, TOKENS)
    logps = tensors["logprobs"].clone().requires_grad_(True)
    entropies = tensors["entropies"].clone().requires_grad_(True)
    mask = tensors["mask"].clone()
    if case["mask_truncated_completions"]:
        mask = mask * (~torch.tensor(TRUNCATED)).unsqueeze(1).int()
    passes = case["gradient_accumulation_steps"]
    size = COMPLETIONS // passes
    corrects = case["importance_sampling_correction"]
    ratio, sampler_metrics = sampler_ratio(trainer, case, tensors, mask) if corrects else (None, None)
    windows = case["steps_per_generation"] // passes
    total, losses = 0.0, []
    for start in range(0, COMPLETIONS, size):
        rows = slice(start, start + size)
        trainer._get_per_token_logps_and_entropies = lambda *args, **kwargs: (
            logps[rows], entropies[rows], None
        )
        ids = torch.zeros((size, TOKENS), dtype=torch.long)
        inputs = {
            "prompt_ids": ids[:, :1], "prompt_mask": torch.ones_like(ids[:, :1]),
            "completion_ids": ids, "completion_mask": mask[rows], "advantages": tensors["advantages"][rows],
            # The other steps of the generation batch are like this one but for one token.
            "num_items_in_batch": mask.sum() * windows + (windows - 1),
        }
        if case["beta"] != 0:
            inputs["ref_per_token_logps"] = tensors["refLogprobs"][rows]
        if not case["on_policy"]:
            inputs["old_per_token_logps"] = tensors["oldLogprobs"][rows]
        if corrects:
            inputs["importance_sampling_ratio"] = ratio[rows]
            inputs["sampling_per_token_logps"] = tensors["samplerLogprobs"][rows]
        loss = trainer._compute_loss(None, inputs)
        total = total + loss
        losses.append(loss.item())
    total.backward()
    return {
        **case,
        "loss": total.item(),
        "gradient": (logps.grad * mask).flatten().tolist(),
        "entropyGradient": None if entropies.grad is None else (entropies.grad * mask).flatten().tolist(),
        "outsideIsZero": bool(((logps.grad * (1 - mask)) == 0).all()),
        "metrics": {name: list(map(number, values)) for name, values in trainer._metrics["train"].items()},
        "samplerMetrics": sampler_metrics,
    }


def number(value):
    """JSON has no NaN, which TRL makes of the smallest and largest share of no token."""
    return None if value != value else value


def cases():
    for loss_type, level in itertools.product(["grpo", "bnpo", "dr_grpo", "dapo", "cispo"], ["token", "sequence"]):
        high = {"epsilon_high": 1.15} if loss_type == "cispo" else {}
        base = {**DEFAULTS, "loss_type": loss_type, "importance_sampling_level": level, **high}
        yield base
        yield {**base, "on_policy": True}
        yield {**base, "use_bias_correction_kl": False}
        yield {**base, "gradient_accumulation_steps": 4, "steps_per_generation": 4, "mask_truncated_completions": True}
        # Two of these micro-batches have no token in the loss.
        yield {**base, "gradient_accumulation_steps": 8, "steps_per_generation": 8, "mask_truncated_completions": True}
        yield {**base, "gradient_accumulation_steps": 2, "steps_per_generation": 6, "beta": 0.0}
        for mode in ["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]:
            corrected = {**base, "importance_sampling_correction": True, "importance_sampling_mode": mode}
            yield {**corrected, "importance_sampling_clip_min": 0.9, "importance_sampling_clip_max": 1.15}
            yield {**corrected, "on_policy": True, "importance_sampling_clip_max": 1.1,
                   "gradient_accumulation_steps": 4, "steps_per_generation": 4}
        if loss_type == "cispo":
            yield {**base, "epsilon_high": 5.0}
        else:
            yield {**base, "epsilon": 0.05, "epsilon_high": 0.28, "delta": 1.3}
            yield {**base, "epsilon": 0.01, "delta": 1.02, "gradient_accumulation_steps": 8, "steps_per_generation": 8}


def newer_cases():
    """Loss types and switches that came later."""
    for loss_type, level in [("sapo", "token"), ("sapo", "sequence"), ("luspo", "sequence"), ("vespo", "token")]:
        base = {**DEFAULTS, "loss_type": loss_type, "importance_sampling_level": level}
        yield base
        yield {**base, "on_policy": True}
        yield {**base, "use_bias_correction_kl": False}
        yield {**base, "gradient_accumulation_steps": 4, "steps_per_generation": 4, "mask_truncated_completions": True}
        yield {**base, "gradient_accumulation_steps": 8, "steps_per_generation": 8, "mask_truncated_completions": True}
        yield {**base, "gradient_accumulation_steps": 2, "steps_per_generation": 6, "beta": 0.0}
        yield {**base, "sapo_temperature_neg": 2.5, "sapo_temperature_pos": 0.4, "vespo_k_pos": 0.7,
               "vespo_lambda_pos": 0.0, "vespo_k_neg": 1.5, "vespo_lambda_neg": 4.0, "epsilon": 0.02}
        for mode in ["token_truncate", "token_mask"] + ([] if loss_type == "vespo" else ["sequence_mask"]):
            corrected = {**base, "importance_sampling_correction": True, "importance_sampling_mode": mode}
            yield {**corrected, "importance_sampling_clip_min": 0.9, "importance_sampling_clip_max": 1.15}
    for loss_type, level in [("grpo", "token"), ("bnpo", "sequence"), ("dapo", "token"), ("cispo", "token"),
                             ("sapo", "token"), ("luspo", "sequence"), ("vespo", "token")]:
        base = {**DEFAULTS, "loss_type": loss_type, "importance_sampling_level": level,
                **({"epsilon_high": 1.15} if loss_type == "cispo" else {})}
        corrected = {**base, "importance_sampling_correction": True, "importance_sampling_mode": "token_truncate",
                     "importance_sampling_clip_max": 1.1}
        yield {**base, "off_policy_mask_threshold": 0.02, "gradient_accumulation_steps": 4, "steps_per_generation": 4}
        yield {**corrected, "off_policy_mask_threshold": 0.01}
        # TRL looks at the entropies of a micro-batch: of one that is the step, as here.
        for share in [0.0, 0.2, 0.55]:
            yield {**base, "top_entropy_quantile": share}
        yield {**base, "top_entropy_quantile": 0.2, "mask_truncated_completions": True}
        yield {**base, "entropy_coef": 0.05}
        yield {**base, "entropy_coef": -0.01, "mask_truncated_completions": True, "steps_per_generation": 3}
        yield {**base, "entropy_coef": 0.05, "top_entropy_quantile": 0.3}
        yield {**corrected, "entropy_coef": 0.02, "top_entropy_quantile": 0.5, "off_policy_mask_threshold": 0.01}


def adaptive_bonus():
    """The coefficient that adapts: one optimizer step of two micro-batches after the other, of the given entropies."""
    case = {**DEFAULTS, "entropy_coef": 0.02, "gradient_accumulation_steps": 2, "steps_per_generation": 2, "beta": 0.0}
    settings = {"entropy_coef_min": 0.01, "entropy_coef_max": 0.045, "entropy_coef_delta": 0.01, "entropy_target": 1.5}
    trainer = trainer_stub(case, 2)
    trainer.use_adaptive_entropy = trainer._entropy_bonus_enabled = True
    trainer._last_world_entropy, trainer._entropy_window_stats = float("inf"), None
    for name, value in settings.items():
        setattr(trainer.args, name, value)
    steps = []
    for mean in [1.0, 1.2, 1.5, 1.4, 3.0, 2.0, 1.6, 1.1, 1.7, 1.3]:
        losses = []
        for micro, spread in enumerate([0.25, -0.25]):
            entropies = torch.full((1, 2), mean + spread)
            trainer.accelerator.sync_gradients = micro == 1
            trainer._get_per_token_logps_and_entropies = lambda *a, **k: (torch.zeros(1, 2), entropies, None)
            ones = torch.ones((1, 2), dtype=torch.long)
            losses.append(trainer._compute_loss(None, {
                "prompt_ids": ones, "prompt_mask": ones, "completion_ids": ones, "completion_mask": ones,
                "advantages": torch.zeros(1), "num_items_in_batch": torch.tensor(4),
            }).item())
        # Without advantages and KL the loss is the bonus.
        steps.append({"entropy": mean, "loss": sum(losses), "coef": trainer.entropy_coef})
    return {**settings, "entropy_coef": case["entropy_coef"], "steps": steps}


def main(out=pathlib.Path(__file__).parents[1]):
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # else a quotient of token counts is rounded to f32
    tensors = make_tensors()
    golden = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__},
        "seed": SEED,
        "tokens": TOKENS,
        "lengths": LENGTHS,
        "truncated": TRUNCATED,
        "inputs": {name: tensor.flatten().tolist() for name, tensor in tensors.items() if name != "mask"},
        "cases": [run_case(case, tensors) for case in [*cases(), *newer_cases()]],
        "adaptiveBonus": adaptive_bonus(),
    }
    (out / "trl_loss.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
