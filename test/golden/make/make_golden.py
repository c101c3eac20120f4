"""Writes all goldens of test/parity/ again. Needs the packages of requirements.txt beside it; two minutes on two cores.

    pip install -r test/golden/make/requirements.txt && python test/golden/make/make_golden.py

Every generator seeds itself and writes the versions it ran with into its fixture; the same versions give the same files.
"""
import os
import pathlib
import subprocess
import sys
import time

# One process each: a generator may set torch's default type or replace parts of TRL.
AREAS = [
    "models", "lora", "sampling", "advantages", "trl_loss", "optimizer", "trl_steps", "scores", "text", "lambda_rule",
    "weights_files",
]


def main():
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}  # nothing is downloaded
    for area in AREAS:
        began = time.perf_counter()
        script = pathlib.Path(__file__).with_name(f"{area}.py")
        subprocess.run([sys.executable, str(script)], check=True, env=environment)
        print(f"{area}: {time.perf_counter() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main()
