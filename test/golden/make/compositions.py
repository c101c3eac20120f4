"""Writes test/golden/compositions.json: advantages of several rewards and costs.

gdpo is TRL's multi_objective_aggregation "normalize_then_sum", executed from its own source as advantages.py does: a
cost is a reward function whose weight is -lambda. The others, which TRL has not, are stated here in plain Python:

    advantage  Z(R) - sum lambda_k Z(C_k)
    ppo_lag    the same, divided by 1 + sum lambda_k

with Z(x) = (x - mean) / (deviation + 1e-4), the deviation (ddof 1) that of the group, of the batch, or none.

Run: python test/golden/make/compositions.py (packages: requirements.txt beside it)
"""

import json
import math
import pathlib
from collections import defaultdict
from types import SimpleNamespace

import torch
import transformers
import trl
from trl.trainer.utils import nanstd

from advantages import number, trl_lines

SEED = 2605
NAN = float("nan")
OUT = pathlib.Path(__file__).resolve().parents[1]


def run_trl(code, case: dict, dtype: torch.dtype) -> list[float]:
    torch.set_default_dtype(dtype)  # nanstd divides two counts, and the quotient has the default type
    scores = case["rewards"] + case["costs"]
    weights = case["weights"] + [-value for value in case["lambdas"]]
    names = {
        "torch": torch,
        "nanstd": nanstd,
        "self": SimpleNamespace(
            scale_rewards="group",
            multi_objective_aggregation="normalize_then_sum",
            reward_weights=torch.tensor(weights, dtype=dtype),
            reward_funcs=scores,  # counted alone
            reward_func_names=[str(i) for i in range(len(scores))],
            accelerator=SimpleNamespace(process_index=0),
            _metrics={"train": defaultdict(list)},
        ),
        "mode": "train",
        "device": torch.device("cpu"),
        "num_generations": case["group_size"],
        "prompts": [""] * len(scores[0]),
        "rewards_per_func": torch.tensor(scores, dtype=dtype).T.contiguous(),
    }
    exec(code, names)
    return names["advantages"].tolist()


def mean_of(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def deviation(values: list[float]) -> float:
    """Divisor n - 1."""
    mean = mean_of(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def standardized(values: list[float], size: int, scale: str) -> list[float]:
    groups = [values[i : i + size] for i in range(0, len(values), size)]
    out = []
    for group in groups:
        mean = mean_of(group)
        if scale == "none":
            divisor = 1.0
        else:
            divisor = deviation(group if scale == "group" else values) + 1e-4
        out += [(value - mean) / divisor for value in group]
    return out


def stated(case: dict, scale: str) -> dict:
    """Rewards without gaps alone: how parts that do not apply add up is shown by gdpo."""
    size, lambdas = case["group_size"], case["lambdas"]
    reward = [
        sum(weight * scores[i] for weight, scores in zip(case["weights"], case["rewards"], strict=True))
        for i in range(len(case["costs"][0]))
    ]
    z_costs = [standardized(costs, size, scale) for costs in case["costs"]]
    advantage = [
        z - sum(value * costs[i] for value, costs in zip(lambdas, z_costs, strict=True))
        for i, z in enumerate(standardized(reward, size, scale))
    ]
    return {"advantage": advantage, "ppo_lag": [value / (1 + sum(lambdas)) for value in advantage]}


def cases() -> list[dict]:
    generator = torch.Generator().manual_seed(SEED)

    def normal(count: int, deviation: float = 3.0) -> list[float]:
        return (torch.randn(count, generator=generator) * deviation).tolist()

    def case(name: str, size: int, groups: int, weights: list[float], lambdas: list[float], scales=None) -> dict:
        count = size * groups
        scales = scales or [1.0] * (len(weights) + len(lambdas))
        lists = [normal(count, 3 * scale) for scale in scales]
        return {
            "name": name,
            "group_size": size,
            "weights": weights,
            "lambdas": lambdas,
            "rewards": lists[: len(weights)],
            "costs": lists[len(weights) :],
        }

    gaps = case("rewards that do not apply everywhere", 5, 3, [1.0, 0.5], [0.7])
    for k, i in ((0, 1), (1, 6), (0, 12), (1, 13), (1, 14)):
        gaps["rewards"][k][i] = NAN
    flat = case("a cost without spread in a group", 3, 3, [1.0], [2.0])
    flat["costs"][0][3:6] = [0.5] * 3
    return [
        case("one reward, one cost", 7, 5, [1.0], [1.25]),
        case("one reward, three costs of unequal spread", 9, 7, [1.0], [0.3, 5.0, 1.0], [1.0, 0.02, 1.0, 40.0]),
        case("two rewards, two costs", 30, 4, [1.0, 0.25], [1.0, 2.5]),
        case("more groups than lanes of a workgroup", 2, 70, [1.0], [1.0, 1.0]),
        gaps,
        flat,
    ]


def main(out: pathlib.Path = OUT) -> None:
    code = compile(trl_lines(), "GRPOTrainer._generate_and_score_completions", "exec")
    made = []
    for case in cases():
        has_gaps = any(value != value for scores in case["rewards"] for value in scores)
        # Both precisions are of the same f32 scores.
        written = {**case, "rewards": [[number(value) for value in scores] for scores in case["rewards"]]}
        made.append(
            {
                **written,
                "gdpo": {
                    "float32": run_trl(code, case, torch.float32),
                    "float64": run_trl(code, case, torch.float64),
                },
                "stated": None if has_gaps else {scale: stated(case, scale) for scale in ("group", "batch", "none")},
            }
        )
    versions = {"torch": torch.__version__, "transformers": transformers.__version__, "trl": trl.__version__}
    torch.set_default_dtype(torch.float32)
    (out / "compositions.json").write_text(json.dumps({"versions": versions, "seed": SEED, "cases": made}) + "\n")


if __name__ == "__main__":
    main()
