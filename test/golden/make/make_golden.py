"""Writes all files of test/golden/ again. Needs the packages of requirements.txt beside it and, for torch_bin, those of
package.json; two minutes on two cores.

    pip install -r test/golden/make/requirements.txt && python test/golden/make/make_golden.py

Names of areas after it: those alone; lora reads what models wrote. Every generator seeds itself and writes the versions
it ran with into its fixture; the same versions on the same kind of CPU give the same files, byte for byte.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

MAKE = pathlib.Path(__file__).resolve().parent
GOLDEN = MAKE.parent
# The generators in their order, and below test/golden/ the files and folders that each writes.
AREAS = json.loads((MAKE / "outputs.json").read_text())


def remove(path: pathlib.Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def make(area: str) -> None:
    """Runs a generator in a process of its own, as it may set torch's default type or replace parts of TRL."""
    outputs = [GOLDEN / name for name in AREAS[area]]
    for path in outputs:
        remove(path)  # so that nothing of an earlier run stays
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"}  # nothing is downloaded
    subprocess.run([sys.executable, str(MAKE / f"{area}.py")], check=True, env=environment)
    missing = [str(path) for path in outputs if not path.exists()]
    if missing:
        raise FileNotFoundError(f"{area}.py did not write {', '.join(missing)}, which outputs.json names")


def main(areas: list[str]) -> None:
    unknown = [area for area in areas if area not in AREAS]
    if unknown:
        raise ValueError(f"No such area: {', '.join(unknown)}; outputs.json has {', '.join(AREAS)}")
    for area in areas or AREAS:
        began = time.perf_counter()
        make(area)
        print(f"{area}: {time.perf_counter() - began:.1f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
