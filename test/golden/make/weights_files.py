"""Writes test/golden/weights_files/: files of torch.save() as src/io/torch/reader.ts must read them.

    single/      pytorch_model.bin: every element type, a tied tensor, a storage offset, views with other strides
    protocol4/   the same in pickle protocol 4, which some savers choose and torch's weights_only does not read
    sharded/     shards and their index, by huggingface_hub as transformers' save_pretrained() did
    expected.json  per folder what torch.load(weights_only=True) reads: name, dtype, shape, bytes

Run: python test/golden/make/weights_files.py (packages: requirements.txt beside it)
"""

import collections
import json
import pathlib
import shutil

import huggingface_hub
import torch

OUT = pathlib.Path(__file__).resolve().parents[1] / "weights_files"
NAMES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def raw(tensor):
    values = tensor.detach().contiguous().flatten()
    return bytes(values.view(torch.uint8).tolist()).hex() if tensor.numel() else ""


def state_dict():
    torch.manual_seed(11)
    base = torch.randn(6, 4)
    bits = torch.arange(-32768, 32768, 997, dtype=torch.int32).to(torch.int16)  # infinities and NaNs among them
    halves = torch.randn(3, 4, 5).half()
    tensors = collections.OrderedDict()
    tensors["model.embed_tokens.weight"] = base
    tensors["lm_head.weight"] = base
    tensors["offset"] = base[2:5]
    tensors["offset_scalar"] = base[3, 1]
    tensors["transposed"] = base.t()
    tensors["every_second_column"] = base[:, 1::2]
    tensors["f16"] = halves
    tensors["f16_permuted"] = halves.permute(2, 0, 1)
    tensors["f16_bits"] = bits.view(torch.float16)
    tensors["bf16"] = torch.randn(5, 3).bfloat16()
    tensors["bf16_bits"] = bits.view(torch.bfloat16).clone()
    tensors["bf16_transposed"] = torch.randn(2, 7).bfloat16().t()
    tensors["parameter"] = torch.nn.Parameter(torch.randn(3).bfloat16())
    tensors["buffer"] = torch.nn.Parameter(torch.randn(2), requires_grad=False)
    tensors["one_row"] = torch.randn(1, 5)[:, :3]
    tensors["empty"] = torch.zeros(0, 3)
    tensors["num_batches_tracked"] = torch.tensor(2**40 + 1)
    tensors["position_ids"] = torch.arange(6).reshape(1, 6).expand(1, 6)
    tensors["position_ids_transposed"] = torch.arange(6).reshape(2, 3).t()
    tensors["i32"] = torch.tensor([-1, 2], dtype=torch.int32)
    tensors["i16"] = torch.tensor([-1, 2], dtype=torch.int16)
    tensors["i8"] = torch.tensor([-1, 2], dtype=torch.int8)
    tensors["u8"] = torch.tensor([255, 2], dtype=torch.uint8)
    tensors["causal_mask"] = torch.tril(torch.ones(3, 3, dtype=torch.bool)).t()
    tensors["__proto__"] = torch.ones(1)
    tensors["naïve"] = torch.ones(2)
    # As Module.state_dict() leaves it.
    tensors._metadata = collections.OrderedDict([("", {"version": 1}), ("model.embed_tokens", {"version": 1})])
    return tensors


def read_by_torch(folder):
    tensors = {}
    for path in sorted(folder.glob("*.bin")):
        for mmap in (False, True):
            tensors.update(torch.load(path, weights_only=True, mmap=mmap))
    return [
        {"name": name, "dtype": NAMES[t.dtype], "shape": list(t.shape), "bytes_hex": raw(t)}
        for name, t in tensors.items()
    ]


def main():
    shutil.rmtree(OUT, ignore_errors=True)
    for name in ("single", "protocol4", "sharded"):
        (OUT / name).mkdir(parents=True)
    tensors = state_dict()
    torch.save(tensors, OUT / "single/pytorch_model.bin")
    torch.save(tensors, OUT / "protocol4/pytorch_model.bin", pickle_protocol=4)
    layers = {f"layers.{i}.weight": torch.randn(40, 8).bfloat16() for i in range(4)}
    layers["lm_head.weight"] = layers["layers.0.weight"]
    huggingface_hub.save_torch_state_dict(
        layers, OUT / "sharded", filename_pattern="pytorch_model{suffix}.bin", safe_serialization=False, max_shard_size=1300
    )
    expected = {
        "versions": {"torch": torch.__version__, "huggingface_hub": huggingface_hub.__version__},
        "folders": {name: read_by_torch(OUT / name) for name in ("single", "sharded")},
    }
    (OUT / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
