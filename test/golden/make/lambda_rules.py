"""Writes test/golden/lambda_rules.json: 10,000 steps of each rule for lambda, and solutions of the dual.

The rules are those of src/rl/lambda/, written again here, one plain function each. Scores are not stored: this program
and test/unit/lambda_rules.test.ts draw them from the same xorshift32 (Marsaglia, "Xorshift RNGs", 2003) by operations
that IEEE doubles round alike everywhere. The mean cost of a batch wanders: it falls while lambda is large, as a policy's
would, so that lambda passes through all its states. Of each sequence every 100th lambda and average of J is stored, and
the sum of all draws, which shows equal inputs.

Run: python test/golden/make/lambda_rules.py (standard library only)
"""

import json
import math
import pathlib
import platform

OUT = pathlib.Path(__file__).resolve().parents[1]
SEED = 20251129
STEPS = 10_000
KEPT_EVERY = 100
COSTS = 8  # of a batch

SETTINGS = {
    "lambda_cost": 1.0,
    "cost_threshold_d": 0.25,
    "cost_confidence": 0.9,
    "lambda_lr": 0.02,
    "lambda_min": 1e-3,
    "lambda_max": 4.0,
    "jc_ema_beta": 0.9,
    "lambda_kp": 0.3,
    "lambda_ki": 0.02,
    "lambda_kd": 0.5,
    "lambda_d_delay": 7,
}


class Draws:
    def __init__(self, seed):
        self.state = seed
        self.total = 0

    def unit(self):
        """In [-1, 1), exact."""
        x = self.state
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        self.state = x
        self.total += x
        return x / 2**31 - 1


def mean(values):
    total = 0.0
    for value in values:
        total += value
    return total / len(values)


def student_inside(t, degrees):
    """P(|T| <= t) as a finite sum: Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine = math.cos(angle)
    is_odd = degrees % 2 == 1
    term = cosine if is_odd else 1.0
    total = term if degrees > 1 else 0.0
    for k in range(3 if is_odd else 2, degrees - 1, 2):
        term *= cosine * cosine * ((k - 1) / k)
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if is_odd else math.sin(angle) * total


def student_quantile(probability, degrees):
    low, high = 0.0, 1e6
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return high
        if (1 + student_inside(middle, degrees)) / 2 < probability:
            low = middle
        else:
            high = middle


def upper_bound(values):
    n = len(values)
    center = mean(values)
    squares = 0.0
    for value in values:
        squares += (value - center) ** 2
    return center + QUANTILE * math.sqrt(squares / (n - 1) / n)


QUANTILE = student_quantile(SETTINGS["cost_confidence"], COSTS - 1)


def log_step(value, average):
    moved = math.exp(math.log(max(value, 1e-12)) + SETTINGS["lambda_lr"] * average)
    return min(max(moved, SETTINGS["lambda_min"]), SETTINGS["lambda_max"])


def run(rule, bound, draws):
    """Every 100th lambda and average of J of a sequence."""
    d, beta = SETTINGS["cost_threshold_d"], SETTINGS["jc_ema_beta"]
    value, average, level = SETTINGS["lambda_cost"], None, 0.0
    integral, averages = value, []
    lambdas, kept_averages = [], []
    for step in range(STEPS):
        # The level follows noise, and is pushed down by lambda, up without it.
        level = 0.99 * level + 0.02 * draws.unit() + 0.01 * (1 - value)
        costs = [level + draws.unit() for _ in range(COSTS)]
        if rule == "per_prompt":
            costs, offset = [max(cost + d, 0.0) for cost in costs], 0.0
        else:
            offset = d
        raw = (upper_bound(costs) if bound == "pessimistic" else mean(costs)) + offset
        violation = max(raw, 0.0) if rule in ("log_ema", "per_prompt", "fixed") else raw
        average = violation if average is None else beta * average + (1 - beta) * violation
        if rule in ("log_ema", "signed", "per_prompt"):
            value = log_step(value, average)
        elif rule == "pid":
            integral = max(0.0, integral + SETTINGS["lambda_ki"] * raw)
            averages.append(average)
            before = averages[max(0, step - SETTINGS["lambda_d_delay"])]
            rise = max(0.0, average - before)
            total = SETTINGS["lambda_kp"] * average + integral + SETTINGS["lambda_kd"] * rise
            value = min(max(total, 0.0), SETTINGS["lambda_max"])
        if (step + 1) % KEPT_EVERY == 0:
            lambdas.append(value)
            kept_averages.append(average)
    return {"rule": rule, "bound": bound, "lambda": lambdas, "j_ema": kept_averages, "draws_total": draws.total}


def slope(value, groups, beta, d):
    """Of the dual in lambda: minus the mean violation of the tilted policy."""
    violations = []
    for rewards, costs in groups:
        logits = [(r - value * c) / beta for r, c in zip(rewards, costs)]
        most = max(logits)
        weights = [math.exp(logit - most) for logit in logits]
        violations.append(sum(w * c for w, c in zip(weights, costs)) / sum(weights) + d)
    return -mean(violations)


def solve(groups, beta, d, most):
    """The least lambda in [0, most] at which the dual no longer falls."""
    if slope(0.0, groups, beta, d) >= 0:
        return 0.0
    low, high = 0.0, most
    for _ in range(200):
        middle = (low + high) / 2
        if slope(middle, groups, beta, d) < 0:
            low = middle
        else:
            high = middle
    return high


def duals(draws):
    """Problems of several sizes and temperatures: some solved at 0, some at lambda_max, most between."""
    solved = []
    for i in range(200):
        size, count = 2 + i % 7, 1 + i % 5
        beta, d = [0.1, 0.5, 1.0, 3.0][i % 4], 0.5 * draws.unit()
        groups = [
            ([draws.unit() for _ in range(size)], [draws.unit() for _ in range(size)]) for _ in range(count)
        ]
        solved.append({"size": size, "count": count, "beta": beta, "d": d, "lambda": solve(groups, beta, d, 10.0)})
    inside = sum(0 < dual["lambda"] < 10 for dual in solved)
    assert inside > 60, f"most duals are to be solved between the bounds, {inside} are"
    return {"lambda_max": 10.0, "solved": solved, "draws_total": draws.total}


def main(out):
    rules = ["log_ema", "signed", "pid", "fixed", "per_prompt"]
    sequences = [run(rule, bound, Draws(SEED)) for bound in ("mean", "pessimistic") for rule in rules]
    for sequence in sequences:
        if sequence["rule"] in ("signed", "pid"):
            between = sum(SETTINGS["lambda_min"] < value < SETTINGS["lambda_max"] for value in sequence["lambda"])
            assert between > len(sequence["lambda"]) / 2, f"{sequence['rule']} stands at its bounds"
    golden = {
        "versions": {"python": platform.python_version()},
        "seed": SEED,
        "steps": STEPS,
        "kept_every": KEPT_EVERY,
        "costs": COSTS,
        "settings": SETTINGS,
        "student": [
            {"probability": p, "degrees": n, "quantile": student_quantile(p, n)}
            for p in (0.75, 0.9, 0.95, 0.999)
            for n in [*range(1, 31), 59, 100, 1919]
        ],
        "sequences": sequences,
        "duals": duals(Draws(SEED)),
    }
    (out / "lambda_rules.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main(OUT)
