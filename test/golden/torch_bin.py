"""Writes torch_bin.json: a pytorch_model.bin of ours and what PyTorch reads from it (pip install torch).

python test/golden/torch_bin.py FILE, where FILE was written by writeTorchBin() from the tensors of
test/unit/torch_bin.test.ts
"""
import base64
import json
import pathlib
import sys

import torch

path = pathlib.Path(sys.argv[1])
names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
read = torch.load(path, weights_only=True)
mapped = torch.load(path, weights_only=True, mmap=True)


def raw(tensor):
    return bytes(tensor.contiguous().flatten().view(torch.uint8).tolist()).hex() if tensor.numel() else ""


assert all(raw(read[name]) == raw(mapped[name]) for name in read)
golden = {
    "torch_version": torch.__version__,
    "read_by_torch": [
        {"name": name, "dtype": names[t.dtype], "shape": list(t.shape), "bytes_hex": raw(t)} for name, t in read.items()
    ],
    "file_base64": base64.b64encode(path.read_bytes()).decode(),
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=2, ensure_ascii=False) + "\n")
