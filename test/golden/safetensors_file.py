"""Writes safetensors_file.json: a file made by Python's safetensors (pip install safetensors numpy)."""
import json
import pathlib

import numpy as np
from safetensors.numpy import save

tensors = {
    "model.norm.weight": np.array([1.0, -2.5, 3.25], np.float32),
    "b.half": np.array([[1.0, 2.0], [0.5, 65504.0]], np.float16),
    "a.half": np.array([-0.0], np.float16),
    "lm_head.weight": np.arange(4, dtype=np.float32).reshape(2, 2) / 3,
    "naïve \"name\"": np.array([7.0], np.float32),
}
dtypes = {"float32": "F32", "float16": "F16"}
golden = {
    "tensors": [
        {"name": name, "dtype": dtypes[str(a.dtype)], "shape": list(a.shape), "bytes_hex": a.tobytes().hex()}
        for name, a in tensors.items()
    ],
    "file_hex": save(tensors, metadata={"format": "pt"}).hex(),
}
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(golden, indent=2, ensure_ascii=False) + "\n")
