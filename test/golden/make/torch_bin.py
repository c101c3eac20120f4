"""Writes test/golden/torch_bin.json: a pytorch_model.bin of ours, and what PyTorch reads from it.

The file is written by our own writeTorchBin() (test/parity/write_torch_bin.ts), so this needs Node and the packages of
package.json.

Run: python test/golden/make/torch_bin.py (packages: requirements.txt beside it)
"""

import base64
import json
import pathlib
import subprocess
import tempfile

import torch

OUT = pathlib.Path(__file__).resolve().parents[1]
ROOT = OUT.parents[1]
NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def raw(tensor: torch.Tensor) -> str:
    return bytes(tensor.contiguous().flatten().view(torch.uint8).tolist()).hex() if tensor.numel() else ""


def main(out: pathlib.Path = OUT) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "pytorch_model.bin"
        write = ["node", "--import", "tsx", "test/parity/write_torch_bin.ts", str(path)]
        subprocess.run(write, check=True, cwd=ROOT)
        content = path.read_bytes()
        read = torch.load(path, weights_only=True)
        mapped = torch.load(path, weights_only=True, mmap=True)
        assert read.keys() == mapped.keys() and all(raw(read[name]) == raw(mapped[name]) for name in read)
        golden = {
            "versions": {"torch": torch.__version__},
            "read_by_torch": [
                {"name": name, "dtype": NAMES[t.dtype], "shape": list(t.shape), "bytes_hex": raw(t)}
                for name, t in read.items()
            ],
            "file_base64": base64.b64encode(content).decode(),
        }
    (out / "torch_bin.json").write_text(json.dumps(golden, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
