"""LoRA adapters on checkpoints of models.py, and what peft computes with them.

Pins src/policy/{adapters,adapter_config}.ts: logits of a left-padded batch, the gradient of a token-weighted sum of
log-probs for every A and B, and the merged weights.

Writes test/golden/lora/: a folder per adapter with adapter_config.json and adapter_model.safetensors as
save_pretrained writes them, and expected.safetensors. The base models, sequences and token weights are those of
test/golden/models/, which models.py makes first.

    python test/golden/make/lora.py      # the packages of requirements.txt; a few seconds on a CPU
"""

import json
import pathlib
import shutil
import tempfile

import peft
import safetensors
import torch
import transformers
from safetensors.torch import save_file

from models import batch_logits, completion_logprobs

SEED = 20260301
# Odd ranks and widths, biases, packed weights, and both scales.
CASES = {
    "llama2_all": dict(base="llama2", r=3, lora_alpha=7, target_modules="all-linear"),
    "biases_rslora": dict(
        base="llama_biases", r=8, lora_alpha=12, target_modules=["q_proj", "v_proj", "down_proj"], use_rslora=True
    ),
    "mistral_bf16_all": dict(base="mistral_bf16", r=4, lora_alpha=8, target_modules="all-linear"),
}


def adapted(folder, settings, seed, dtype):
    """The base model with random A and B: the same values whatever the base's dtype."""
    base = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")
    config = peft.LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings)
    model = peft.get_peft_model(base.eval(), config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            if "lora_" in name:
                assert parameter.dtype == torch.float32
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def saved_name(name):
    """A parameter's name in adapter_model.safetensors."""
    return name.replace(".default.", ".")


def merged_weights(model):
    """The weights that merging changes, by their names in the base model."""
    adapted = {name.split(".lora_A.")[0] for name, _ in model.named_parameters() if ".lora_A." in name}
    names = [f"{name.removeprefix('base_model.model.')}.weight" for name in adapted]
    merged = dict(model.merge_and_unload().named_parameters())
    return {f"merged.{name}": merged[name].detach().contiguous() for name in names}


def make_case(name, index, models, out):
    settings = dict(CASES[name])
    base = models / settings.pop("base")
    case = next(c for c in json.loads((models / "cases.json").read_text())["cases"] if base.name.startswith(c["name"]))
    prompts, completions = case["prompts"], case["completions"]
    sequences = [p + c for p, c in zip(prompts, completions)]
    model = adapted(base, settings, SEED + index, torch.float32)
    logits = batch_logits(model, sequences)
    logprobs = completion_logprobs(logits, prompts, completions)
    weights = torch.randn(len(logprobs), generator=torch.Generator().manual_seed(SEED + 100 + index))
    (weights * logprobs).sum().backward()
    gradients = {
        f"grad.{saved_name(key)}": parameter.grad for key, parameter in model.named_parameters() if "lora_" in key
    }
    folder = out / name
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        shutil.copy(pathlib.Path(scratch) / "adapter_model.safetensors", folder)
        saved = json.loads((pathlib.Path(scratch) / "adapter_config.json").read_text())
    # Here the base lies beside the adapter; everything else is as peft wrote it.
    saved["base_model_name_or_path"] = f"../../models/{base.name}"
    saved["target_modules"] = sorted(saved["target_modules"])
    (folder / "adapter_config.json").write_text(json.dumps(saved, indent=2) + "\n")
    # Merged in the type that the base is stored in.
    stored = adapted(base, settings, SEED + index, "auto")
    expected = dict(logits=torch.cat(logits).detach(), token_weights=weights, **gradients, **merged_weights(stored))
    # Without metadata: safetensors writes that in another order each time. The versions are in cases.json.
    save_file(expected, folder / "expected.safetensors")
    return dict(name=name, model=case["name"])


def versions():
    return dict(
        torch=torch.__version__,
        transformers=transformers.__version__,
        peft=peft.__version__,
        safetensors=safetensors.__version__,
    )


def main(out: pathlib.Path) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    models = pathlib.Path(__file__).resolve().parent.parent / "models"
    cases = [make_case(name, index, models, out) for index, name in enumerate(CASES)]
    (out / "cases.json").write_text(json.dumps(dict(versions=versions(), seed=SEED, cases=cases)) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(__file__).resolve().parent.parent / "lora")
