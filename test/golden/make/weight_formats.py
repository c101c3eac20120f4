"""Weights in formats that are converted as they are read, and their values by torch and transformers.

Pins src/io/tensors/small_floats.ts and src/io/model/converted_weights.ts: every code of both 8-bit floats, weights with
a scale for all, for each row, for each block of 4 x 4 (float, bf16 and power-of-two scales; blocks that the edge cuts),
and f64. The expected values of "x.weight" are "x.expected".

Writes test/golden/weight_formats.safetensors and, with f64 alone, weight_formats.bin.

    python test/golden/make/weight_formats.py      # the packages of requirements.txt
"""

import pathlib

import torch
from safetensors.torch import save_file
from transformers.integrations.finegrained_fp8 import Fp8Dequantize

SEED = 20260302
BLOCK = 4


def quantized(shape, generator, dtype=torch.float8_e4m3fn):
    return (torch.randn(shape, generator=generator) * 40).to(dtype)


def by_blocks(weight, scale):
    """Of a grid whose last blocks the edge of the weight cuts, which transformers refuses: as DeepSeek defines it."""
    spread = scale.float().repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
    return (weight.float() * spread[: weight.shape[0], : weight.shape[1]]).to(torch.bfloat16)


def main(out: pathlib.Path) -> None:
    generator = torch.Generator().manual_seed(SEED)
    scale = lambda shape: torch.rand(shape, generator=generator) / 50  # noqa: E731
    dequantize = Fp8Dequantize(None)._dequantize_one
    codes = torch.arange(256, dtype=torch.uint8)
    tensors = {}
    for name, dtype in [("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)]:
        tensors[f"{name}.weight"] = codes.clone().view(dtype)
        tensors[f"{name}.expected"] = codes.view(dtype).float()
    scales = {
        "block.weight_scale_inv": scale((2, 3)),
        "block_bf16.weight_scale_inv": scale((2, 3)).to(torch.bfloat16),
        "block_power.weight_scale_inv": torch.tensor(
            [[120, 121, 119], [127, 126, 100]], dtype=torch.uint8
        ).view(torch.float8_e8m0fnu),
        "row.weight_scale": scale((8, 1)),
        "all.weight_scale": scale(()),
        "one.weight_scale": scale((1,)),
    }
    for scale_name, values in scales.items():
        name = scale_name.split(".")[0]
        weight = quantized((8, 12), generator)
        grid = values.reshape(1, 1) if values.numel() == 1 else values
        tensors[f"{name}.weight"], tensors[scale_name] = weight, values
        tensors[f"{name}.expected"] = dequantize(weight, grid, output_dtype=torch.bfloat16)
    cut = quantized((6, 10), generator)
    tensors["cut.weight"], tensors["cut.weight_scale_inv"] = cut, scale((2, 3))
    tensors["cut.expected"] = by_blocks(cut, tensors["cut.weight_scale_inv"])
    row_wise = quantized((8, 12), generator, torch.float8_e5m2)
    tensors["list.weight"], tensors["list.weight_scale"] = row_wise, scale((8,))
    tensors["list.expected"] = (row_wise.float() * tensors["list.weight_scale"][:, None]).to(torch.bfloat16)
    double = torch.randn((3, 5), generator=generator, dtype=torch.float64) * 1e3
    tensors["double.weight"], tensors["double.expected"] = double, double.float()
    tensors["block.input_scale"] = scale((1,))
    save_file(tensors, out / "weight_formats.safetensors")
    torch.save({"double.weight": double, "double.expected": double.float()}, out / "weight_formats.bin")


if __name__ == "__main__":
    main(pathlib.Path(__file__).resolve().parent.parent)
