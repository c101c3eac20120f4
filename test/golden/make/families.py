"""Tiny random checkpoints of the families that differ from Llama in arithmetic, and what transformers computes with them.

As models.py, whose cases these are: other norms and where they stand, other activations and scales, caps, layers that do
not rotate or rotate part of a head, windows that slide. Writes test/golden/families/.

    python test/golden/make/families.py      # the packages of requirements.txt; half a minute on a CPU
"""

import json
import pathlib
import shutil

import models
import safetensors
import torch
import transformers

SEED = 20260728
# Sequences of models.py reach 81 tokens, so that windows slide in prompts and in completions.
SHARED = dict(
    hidden_size=24,
    intermediate_size=36,
    num_hidden_layers=2,
    num_attention_heads=3,
    num_key_value_heads=1,
    vocab_size=96,
    max_position_embeddings=128,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=None,
    attn_implementation="eager",
)
GEMMA = SHARED | dict(num_key_value_heads=1, num_attention_heads=2, head_dim=16)
# A window and its layer's place in the pattern show where there is more than one period of it.
FAMILIES = {
    "olmo2": lambda: transformers.Olmo2Config(
        **(SHARED | dict(num_attention_heads=6, num_key_value_heads=3)), rms_norm_eps=0.02
    ),
    "granite": lambda: transformers.GraniteConfig(
        **SHARED,
        tie_word_embeddings=True,
        embedding_multiplier=5.0,
        residual_multiplier=0.6,
        attention_multiplier=0.2,
        logits_scaling=1.7,
        attention_bias=True,
        mlp_bias=True,
    ),
    "smollm3": lambda: transformers.SmolLM3Config(
        **(SHARED | dict(num_hidden_layers=5)), rope_parameters=dict(rope_type="default", rope_theta=5000.0)
    ),
    "phi3": lambda: transformers.Phi3Config(
        **SHARED,
        sliding_window=20,
        rope_parameters=dict(rope_type="default", rope_theta=10000.0, partial_rotary_factor=0.5),
    ),
    "gemma2": lambda: transformers.Gemma2Config(
        **(GEMMA | dict(num_hidden_layers=3)),
        sliding_window=11,
        query_pre_attn_scalar=7,
        attn_logit_softcapping=3.0,
        final_logit_softcapping=5.0,
    ),
    "gemma3": lambda: transformers.Gemma3TextConfig(
        **(GEMMA | dict(num_hidden_layers=4)),
        sliding_window=13,
        sliding_window_pattern=3,
        query_pre_attn_scalar=20,
        rope_parameters=dict(
            full_attention=dict(rope_type="linear", factor=3.0, rope_theta=100000.0),
            sliding_attention=dict(rope_type="default", rope_theta=500.0),
        ),
    ),
    # Families of models.py whose window no sequence left there.
    "mistral_window": lambda: transformers.MistralConfig(**SHARED, sliding_window=16),
    "qwen2_window": lambda: transformers.Qwen2Config(
        **(SHARED | dict(num_hidden_layers=3)), use_sliding_window=True, sliding_window=15, max_window_layers=1
    ),
}
# What their norms multiply by is 1 + weight.
CENTRED_NORMS = ["gemma2", "gemma3"]


def main(out: pathlib.Path) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    shutil.rmtree(out, ignore_errors=True)
    cases = []
    for index, (name, config) in enumerate(FAMILIES.items()):
        seed = SEED + 10 * index
        model = models.random_model(config(), seed, 0 if name in CENTRED_NORMS else 1)
        cases.append(models.make_family(name, model, seed, out))
    versions = dict(
        torch=torch.__version__, transformers=transformers.__version__, safetensors=safetensors.__version__
    )
    made = dict(versions=versions, seed=SEED, temperature=models.TEMPERATURE, cases=cases, bf16=[])
    (out / "cases.json").write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(__file__).resolve().parent.parent / "families")
