"""Writes test/golden/lambda_rule.json: lambda after 10,000 random sequences of mean costs, in Python doubles.

The rule is the one in the docstring of src/rl/lambda.ts, written again here. The sequences are not stored:
this program and test/parity/lambda.ts draw them from the same xorshift32 (Marsaglia, "Xorshift RNGs",
2003), and every number is made of draws by operations that IEEE doubles round alike everywhere. Stored are,
of every sequence, the last lambda and the last moving average of J, as little-endian f64 in base64, and the
sum of all draws, which shows equal inputs.

Run: python test/golden/make/lambda_rule.py (standard library only)
"""

import base64
import json
import math
import pathlib
import platform
import struct

SEED = 20240601
SEQUENCES = 10_000
OUT = pathlib.Path(__file__).resolve().parents[1]

START = [0.0, 1e-15, 0.01, 0.5, 1.0, 3.0, 20.0, 1e4]
RATES = [0.0, 1e-4, 1e-3, 0.01, 0.05, 0.1, 0.5, 1.0]
BETAS = [0.0, 0.5, 0.9, 0.99]
MINIMA = [0.0, 1e-9, 1e-4, 0.1]
MAXIMA = [2.0, 25.0, 1e6, 1e300]
SCALES = [1e-3, 0.1, 1.0, 10.0]


class Draws:
    def __init__(self, seed: int):
        self.state = seed
        self.total = 0

    def word(self) -> int:
        x = self.state
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        self.state = x
        self.total += x
        return x

    def unit(self) -> float:
        """In [-1, 1), exact."""
        return self.word() / 2**31 - 1

    def choose(self, values):
        return values[self.word() % len(values)]


def run_sequence(draws: Draws) -> tuple[float, float, bool]:
    """Last lambda, last moving average of J, and whether lambda lies between its bounds."""
    value, rate, beta = draws.choose(START), draws.choose(RATES), draws.choose(BETAS)
    low, high, scale = draws.choose(MINIMA), draws.choose(MAXIMA), draws.choose(SCALES)
    positive_only, adapt = draws.word() % 2 == 0, draws.word() % 16 != 0
    threshold = draws.unit()
    average = None
    for _ in range(1 + draws.word() % 50):
        violation = draws.unit() * scale + threshold
        if positive_only:
            violation = max(violation, 0.0)
        average = violation if average is None else beta * average + (1 - beta) * violation
        if adapt:
            value = min(max(math.exp(math.log(max(value, 1e-12)) + rate * average), low), high)
    return value, average, low < value < high


def pack(values: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}d", *values)).decode()


def main(out: pathlib.Path) -> None:
    draws = Draws(SEED)
    lambdas, averages, inside = zip(*(run_sequence(draws) for _ in range(SEQUENCES)))
    assert sum(inside) > SEQUENCES / 2, "most sequences are to end between the bounds"
    golden = {
        "versions": {"python": platform.python_version()},
        "seed": SEED,
        "sequences": SEQUENCES,
        "draws_total": draws.total,
        "lambda_f64": pack(list(lambdas)),
        "j_ema_f64": pack(list(averages)),
    }
    (out / "lambda_rule.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main(OUT)
