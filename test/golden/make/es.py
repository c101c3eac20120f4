"""Writes test/golden/es.json: fitness and update coefficients of evolution strategies, in Python doubles.

The formulas are those of alignment/ES/es_fine_tuning_alignment.py of ItamarRocha/evolutionary-alignment, written again
here with the standard library: np.mean is fmean, np.std is pstdev.

Run: python test/golden/make/es.py (standard library only)
"""

import json
import pathlib
import platform
import random
from statistics import fmean, pstdev

SEED = 20260731
MEMBERS, PROMPTS = 30, 6
OUT = pathlib.Path(__file__).resolve().parents[1]

CASES = [
    {"lambda": 1.0, "alpha": 5e-4, "standardize": False, "safe_first": False, "factor": 0.0},
    {"lambda": 0.3, "alpha": 1.0, "standardize": True, "safe_first": False, "factor": 0.0},
    {"lambda": 2.5, "alpha": 0.02, "standardize": False, "safe_first": True, "factor": 0.0},
    {"lambda": 5.0, "alpha": 0.1, "standardize": True, "safe_first": True, "factor": 0.25},
]


def fitness(rewards: list[float], costs: list[float], case: dict) -> float:
    if case["safe_first"]:
        rewards = [case["factor"] * r if c > 0 else r for r, c in zip(rewards, costs)]
    r_mean, c_mean = fmean(rewards), fmean(costs)
    if case["standardize"]:
        r_mean /= pstdev(rewards) + 1e-8
        c_mean /= pstdev(costs) + 1e-8
    return r_mean - case["lambda"] * c_mean


def main(out: pathlib.Path) -> None:
    rng = random.Random(SEED)
    draw = lambda: [[round(rng.uniform(-3, 3), 4) for _ in range(PROMPTS)] for _ in range(MEMBERS)]
    cases = []
    for case in CASES:
        rewards, costs = draw(), draw()
        scores = [fitness(r, c, case) for r, c in zip(rewards, costs)]
        mean, deviation = fmean(scores), pstdev(scores)
        update = [case["alpha"] / MEMBERS * ((f - mean) / (deviation + 1e-8)) for f in scores]
        cases.append({**case, "rewards": rewards, "costs": costs, "fitness": scores, "coefficients": update})
    golden = {"versions": {"python": platform.python_version()}, "cases": cases}
    (out / "es.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main(OUT)
