"""Writes test/golden/safetensors_file.json: a file made by Python's safetensors, and the tensors in it.

Run: python test/golden/make/safetensors_file.py (packages: requirements.txt beside it)
"""

import json
import pathlib

import numpy
import safetensors
from safetensors.numpy import save

OUT = pathlib.Path(__file__).resolve().parents[1]
DTYPES = {"float32": "F32", "float16": "F16"}


def main(out: pathlib.Path = OUT) -> None:
    tensors = {
        "model.norm.weight": numpy.array([1.0, -2.5, 3.25], numpy.float32),
        "b.half": numpy.array([[1.0, 2.0], [0.5, 65504.0]], numpy.float16),
        "a.half": numpy.array([-0.0], numpy.float16),
        "lm_head.weight": numpy.arange(4, dtype=numpy.float32).reshape(2, 2) / 3,
        'naïve "name"': numpy.array([7.0], numpy.float32),
    }
    golden = {
        "versions": {"safetensors": safetensors.__version__, "numpy": numpy.__version__},
        "tensors": [
            {"name": name, "dtype": DTYPES[str(a.dtype)], "shape": list(a.shape), "bytes_hex": a.tobytes().hex()}
            for name, a in tensors.items()
        ],
        "file_hex": save(tensors, metadata={"format": "pt"}).hex(),
    }
    (out / "safetensors_file.json").write_text(json.dumps(golden, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
