"""Writes test/golden/advantages.json: group advantages and reward statistics by TRL's own lines.

TRL computes them in the middle of GRPOTrainer._generate_and_score_completions, which generates and scores
first and so cannot be called by itself. This program takes the source of that method with inspect.getsource,
cuts out the lines from the mask of unscorable completions to the reward metrics, and executes them as they
are, on rewards made here: in float32, as the trainer runs, and in float64.

Run: python test/golden/make/advantages.py (packages: requirements.txt beside it)
"""

import inspect
import json
import pathlib
import textwrap
from collections import defaultdict
from types import SimpleNamespace

import torch
import transformers
import trl
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import nanstd

SEED = 1708
FIRST_LINE = "unscorable_mask = torch.isnan(rewards_per_func).all(dim=1)"
LAST_LINE = 'self._metrics[mode]["frac_reward_zero_std"].append(is_std_zero.float().mean().item())'
NAN = float("nan")
OUT = pathlib.Path(__file__).resolve().parents[1]


def trl_lines() -> str:
    lines = inspect.getsource(GRPOTrainer._generate_and_score_completions).splitlines()
    stripped = [line.strip() for line in lines]
    return textwrap.dedent("\n".join(lines[stripped.index(FIRST_LINE) : stripped.index(LAST_LINE) + 1]))


def run_trl(code, scores: list[float], group_size: int, scale_rewards: str, dtype: torch.dtype) -> dict:
    torch.set_default_dtype(dtype)  # nanstd divides two counts, and the quotient has the default type
    trainer = SimpleNamespace(
        scale_rewards=scale_rewards,
        multi_objective_aggregation="sum_then_normalize",
        reward_weights=torch.ones(1, dtype=dtype),
        reward_func_names=["combined"],
        accelerator=SimpleNamespace(process_index=0),
        _metrics={"train": defaultdict(list)},
    )
    names = {
        "torch": torch,
        "nanstd": nanstd,
        "self": trainer,
        "mode": "train",
        "device": torch.device("cpu"),
        "num_generations": group_size,
        "prompts": [""] * len(scores),
        "rewards_per_func": torch.tensor(scores, dtype=dtype).unsqueeze(1),
    }
    exec(code, names)
    metrics = trainer._metrics["train"]
    return {
        "advantages": names["advantages"].tolist(),
        "reward": number(metrics["reward"][0]),
        "reward_std": number(metrics["reward_std"][0]),
        "frac_reward_zero_std": metrics["frac_reward_zero_std"][0],
    }


def number(value: float) -> float | None:
    """JSON has no NaN."""
    return None if value != value else value


def score_lists() -> list[tuple[str, int, list[float]]]:
    generator = torch.Generator().manual_seed(SEED)

    def normal(count: int, deviation: float = 3.0, mean: float = 0.0) -> list[float]:
        return (torch.randn(count, generator=generator) * deviation + mean).tolist()

    gaps = normal(24)
    for i in (0, 7, 12, 13, 14, 15, 16, 18, 19, 20):  # one, all, and all but one of a group have no score
        gaps[i] = NAN
    return [
        ("two groups of two", 2, normal(4)),
        ("five groups of seven", 7, normal(35)),
        ("eight groups of thirty", 30, normal(240)),
        ("far from zero", 8, normal(32, 1.0, 20.0)),
        ("small differences", 6, normal(24, 1e-2)),
        ("some completions without a score", 6, gaps),
        ("two of four groups without spread", 4, [1.5] * 4 + normal(4) + [-0.25] * 4 + normal(4)),
        ("no spread anywhere", 3, [2.0] * 9),
        ("groups that differ, each without spread", 2, [1.0, 1.0, 3.0, 3.0]),
        ("no spread among the scored", 4, [0.5, NAN, 0.5, 0.5] + normal(4)),
        ("one score in all", 2, [NAN, 4.0, NAN, NAN]),
        ("groups of one", 1, normal(5)),
        ("more groups than lanes of a workgroup", 2, normal(140)),
    ]


def main(out: pathlib.Path = OUT) -> None:
    code = compile(trl_lines(), "GRPOTrainer._generate_and_score_completions", "exec")
    cases = [
        {
            "name": name,
            "group_size": size,
            "scale_rewards": scale,
            "scores": [number(score) for score in scores],
            "float32": run_trl(code, scores, size, scale, torch.float32),
            "float64": run_trl(code, scores, size, scale, torch.float64),
        }
        for name, size, scores in score_lists()
        for scale in ("group", "batch", "none")
    ]
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__}
    golden = {
        "versions": versions,
        "seed": SEED,
        "cases": cases,
    }
    torch.set_default_dtype(torch.float32)
    (out / "advantages.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
