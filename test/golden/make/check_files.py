"""Opens what we wrote with the programs it is for, and compares their logits with ours.

A folder with adapter_config.json is opened by peft on its base model and by transformers alone; the weights of its
merged/ folder, where it has one, must be those that peft's merge_and_unload makes in its type. Any other folder
is opened by transformers, and its pytorch_model.bin by torch.load(weights_only=True), whose tensors must be those of
model.safetensors bit for bit.

    node --import tsx test/parity/write_logits.ts <folder> logits.json
    python test/golden/make/check_files.py <folder> logits.json

Run from the repository's root where the adapter's base model is a relative path. Exits with 1 where a logit differs by
more than 1e-4 of its row's max, or a merged weight by more than 1e-4 relative Frobenius.
"""

import json
import pathlib
import sys

import peft
import torch
import transformers
from safetensors.torch import load_file

LIMIT = 1e-4


def open_model(folder, dtype=torch.float32):
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, attn_implementation="eager"
    ).eval()


def open_peft(folder, dtype=torch.float32):
    base = json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    return peft.PeftModel.from_pretrained(open_model(base, dtype), folder)


@torch.no_grad()
def worst_error(model, ids, logits):
    """Largest difference of a logit, of its row's max."""
    theirs = torch.cat([model(input_ids=torch.tensor([sequence])).logits[0] for sequence in ids])
    ours = torch.tensor(logits).reshape(theirs.shape)
    return ((ours - theirs).abs().amax(-1) / theirs.abs().amax(-1)).max().item()


def openings(folder):
    """What opens the folder, by name."""
    if not (folder / "adapter_config.json").exists():
        return {"transformers": lambda: open_model(folder)}
    return {"peft": lambda: open_peft(folder), "transformers with peft": lambda: open_model(folder)}


def merge_error(folder):
    """Worst relative Frobenius difference of our merged weights from peft's, both in the type that ours are for."""
    dtype = getattr(torch, json.loads((folder / "merged" / "config.json").read_text())["dtype"])
    theirs = open_peft(folder, dtype).merge_and_unload().state_dict()
    ours = open_model(folder / "merged", dtype).state_dict()
    assert ours.keys() == theirs.keys() and all(ours[name].dtype == theirs[name].dtype for name in ours)
    worst = 0
    for name in theirs:
        wanted = theirs[name].double()
        worst = max(worst, ((ours[name].double() - wanted).norm() / wanted.norm()).item())
    return worst


def check_torch_bin(folder):
    loaded = torch.load(folder / "pytorch_model.bin", weights_only=True)
    saved = load_file(folder / "model.safetensors")
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)
    print("torch.load(weights_only=True): the tensors of model.safetensors")


def main(folder: pathlib.Path, path: pathlib.Path) -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    ours = json.loads(path.read_text())
    failed = False
    for name, open_folder in openings(folder).items():
        error = worst_error(open_folder(), ours["ids"], ours["logits"])
        failed |= not error <= LIMIT
        print(f"{name}: logits differ by {error:.2g} of the row's max")
    if (folder / "merged").exists():
        error = merge_error(folder)
        failed |= not error <= LIMIT
        print(f"transformers, merged/: weights differ from peft's merge by {error:.2g}, relative Frobenius")
    if (folder / "pytorch_model.bin").exists():
        check_torch_bin(folder)
    sys.exit(failed)


if __name__ == "__main__":
    main(*map(pathlib.Path, sys.argv[1:3]))
