"""Writes test/golden/schedules.json and test/golden/optimizer.json.

schedules.json: the learning rates of transformers' get_scheduler for every lr_scheduler_type that needs no
metric, up to five steps past the end of the run; warm-up as TrainingArguments counts it.

optimizer.json: three small parameters through 20 steps of torch.optim.AdamW (fused, as the Trainer makes it)
with given gradients, clip_grad_norm_ before each step where max_grad_norm > 0, a learning rate by schedule
and weight decay on the parameters that the Trainer decays: values after every step in f32, and after some
steps in f64. Also which parameters of tiny models Trainer.get_decay_parameter_names decays.

Run: python test/golden/make/optimizer.py (packages: requirements.txt beside it)
"""

import json
import pathlib
import tempfile

import torch
import transformers
from transformers import Trainer, TrainingArguments, get_scheduler

SEED = 2711
STEPS = 20
F64_STEPS = [1, 2, 10, 20]
PEAK = 3e-4
OUT = pathlib.Path(__file__).resolve().parents[1]
VERSIONS = {"torch": torch.__version__, "transformers": transformers.__version__}

SCHEDULES = [
    ("constant", {}),
    ("constant_with_warmup", {}),
    ("linear", {}),
    ("cosine", {}),
    ("cosine", {"num_cycles": 1.25}),
    ("cosine_with_restarts", {}),
    ("cosine_with_restarts", {"num_cycles": 3}),
    ("polynomial", {}),
    ("polynomial", {"lr_end": 2e-5, "power": 2.5}),
    ("inverse_sqrt", {}),
    ("inverse_sqrt", {"timescale": 7}),
    ("cosine_with_min_lr", {"min_lr": 4e-5}),
    ("cosine_with_min_lr", {"min_lr_rate": 0.1, "num_cycles": 0.75}),
    ("cosine_warmup_with_min_lr", {"min_lr": 4e-5}),
    ("cosine_warmup_with_min_lr", {"min_lr_rate": 0.1, "warmup_lr_rate": 0.05}),
    ("warmup_stable_decay", {"num_decay_steps": 6}),
    ("warmup_stable_decay", {"num_decay_steps": 8, "num_stable_steps": 4, "min_lr_ratio": 0.1}),
    ("warmup_stable_decay", {"num_decay_steps": 7, "warmup_type": "cosine", "decay_type": "linear"}),
    ("warmup_stable_decay", {"num_decay_steps": 7, "warmup_type": "1-sqrt", "decay_type": "1-sqrt"}),
    ("warmup_stable_decay", {"num_decay_steps": 7, "num_cycles": 1.25}),
]
# Steps of warm-up (below 1: their share) and of the run.
LENGTHS = [(0, 20), (1, 20), (5, 20), (5, 33), (0.13, 33)]

SHAPES = {"model.layers.0.mlp.down_proj.weight": (5, 8), "model.norm.weight": (7,), "lm_head.weight": (3, 5)}
OPTIMIZERS = [
    {"weight_decay": 0.0, "max_grad_norm": 0.0, "lr_scheduler_type": "constant", "warmup_steps": 0},
    {"weight_decay": 0.1, "max_grad_norm": 0.5, "lr_scheduler_type": "cosine", "warmup_steps": 5},
    {"weight_decay": 0.1, "max_grad_norm": 1e6, "lr_scheduler_type": "linear", "warmup_steps": 0},
    {"weight_decay": 0.0, "max_grad_norm": 1.0, "lr_scheduler_type": "inverse_sqrt", "warmup_steps": 3},
]
ADAM = {"learning_rate": 1e-2, "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}


def schedule_of(optimizer, name: str, kwargs: dict, warmup: float, total: int, folder: str):
    arguments = TrainingArguments(folder, warmup_steps=warmup, use_cpu=True, report_to=[])
    return get_scheduler(name, optimizer, arguments.get_warmup_steps(total), total, kwargs)


def learning_rates(name: str, kwargs: dict, warmup: float, total: int, folder: str) -> list[float]:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
    schedule = schedule_of(optimizer, name, kwargs, warmup, total, folder)
    rates = []
    for _ in range(total + 6):
        rates.append(float(schedule.get_last_lr()[0]))
        optimizer.step()
        schedule.step()
    return rates


def write_schedules(out: pathlib.Path, folder: str) -> None:
    cases = [
        {
            "lr_scheduler_type": name,
            "lr_scheduler_kwargs": kwargs,
            "warmup_steps": warmup,
            "total_steps": total,
            "rates": learning_rates(name, kwargs, warmup, total, folder),
        }
        for name, kwargs in SCHEDULES
        for warmup, total in LENGTHS
    ]
    golden = {"versions": VERSIONS, "learning_rate": PEAK, "cases": cases}
    (out / "schedules.json").write_text(json.dumps(golden) + "\n")


def shortest(tensor: torch.Tensor) -> list[float]:
    """Shortest decimals that read back as the same f32, or the f64 as it is."""
    if tensor.dtype == torch.float64:
        return tensor.flatten().tolist()
    return [float(str(value)) for value in tensor.detach().flatten().numpy()]


def draw() -> tuple[dict, list[dict]]:
    generator = torch.Generator().manual_seed(SEED)
    starts = {name: torch.randn(shape, generator=generator) * 0.2 for name, shape in SHAPES.items()}
    gradients = []
    for step in range(STEPS):
        scale = 10.0 ** float(torch.randint(-3, 1, (1,), generator=generator))
        grads = {name: torch.randn(shape, generator=generator) * scale for name, shape in SHAPES.items()}
        flat = grads["lm_head.weight"].view(-1)
        flat[step % 5] = 0.0
        flat[5] *= 1e-12
        flat[6] *= 1e3
        flat[7] = 1e-12 if step < 10 else flat[7]
        gradients.append(grads)
    return starts, gradients


def train(case: dict, starts: dict, gradients: list[dict], dtype: torch.dtype, folder: str) -> list[dict]:
    parameters = {name: torch.nn.Parameter(start.to(dtype, copy=True)) for name, start in starts.items()}
    decayed = [parameter for name, parameter in parameters.items() if "norm" not in name]
    plain = [parameter for name, parameter in parameters.items() if "norm" in name]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": case["weight_decay"]}, {"params": plain, "weight_decay": 0.0}],
        lr=ADAM["learning_rate"],
        betas=(ADAM["adam_beta1"], ADAM["adam_beta2"]),
        eps=ADAM["adam_epsilon"],
        fused=True,
    )
    schedule = schedule_of(optimizer, case["lr_scheduler_type"], {}, case["warmup_steps"], STEPS, folder)
    after = []
    for grads in gradients:
        for name, parameter in parameters.items():
            parameter.grad = grads[name].to(dtype, copy=True)
        if case["max_grad_norm"] > 0:
            torch.nn.utils.clip_grad_norm_(list(parameters.values()), case["max_grad_norm"])
        optimizer.step()
        schedule.step()
        after.append({name: shortest(parameter.detach()) for name, parameter in parameters.items()})
    return after


def decay_names() -> dict[str, dict[str, bool]]:
    tiny = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "vocab_size": 8,
    }
    models = {
        "llama": transformers.LlamaForCausalLM(transformers.LlamaConfig(**tiny)),
        "mistral": transformers.MistralForCausalLM(transformers.MistralConfig(**tiny)),
        "qwen2": transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**tiny)),
        "qwen3": transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**tiny, head_dim=4)),
    }
    decayed = {kind: set(Trainer.get_decay_parameter_names(None, model)) for kind, model in models.items()}
    return {
        kind: {name: name in decayed[kind] for name, _ in model.named_parameters()}
        for kind, model in models.items()
    }


def write_optimizer(out: pathlib.Path, folder: str) -> None:
    starts, gradients = draw()
    cases = []
    for case in OPTIMIZERS:
        f64 = train(case, starts, gradients, torch.float64, folder)
        cases.append(
            {
                **case,
                "f32": train(case, starts, gradients, torch.float32, folder),
                "f64": {str(step): f64[step - 1] for step in F64_STEPS},
            }
        )
    golden = {
        "versions": VERSIONS,
        "seed": SEED,
        **ADAM,
        "shapes": SHAPES,
        "starts": {name: shortest(start) for name, start in starts.items()},
        "gradients": [{name: shortest(grad) for name, grad in grads.items()} for grads in gradients],
        "cases": cases,
        "decays": decay_names(),
    }
    (out / "optimizer.json").write_text(json.dumps(golden) + "\n")


def main(out: pathlib.Path = OUT) -> None:
    torch.set_default_dtype(torch.float32)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        write_schedules(out, folder)
        write_optimizer(out, folder)


if __name__ == "__main__":
    main()
