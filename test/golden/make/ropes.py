"""Ropes of transformers: frequencies and attention factors of many settings, and logits of tiny models of three.

Pins src/policy/rope_config.ts and src/ops/attention/rope_table.ts. A rope that follows the length of the sequence
(dynamic, longrope) is asked for a length up to which it is one rope for all sequences.

Writes test/golden/ropes/: ropes.json, and a folder per model with config.json, model.safetensors and
expected.safetensors (logits after each token of the sequences, end to end).

    python test/golden/make/ropes.py      # the packages of requirements.txt; a few seconds on a CPU
"""

import json
import pathlib
import shutil

import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from models import batch_logits, random_model, random_sequences, save_model

SEED = 20260301
LENGTHS = [1, 9, 60, 100]
# Sizes of Llama 2 7B; head_dim 128.
SIZES = dict(
    hidden_size=4096, intermediate_size=11008, num_attention_heads=32, num_hidden_layers=1, vocab_size=32
)
SHORT = [1 + c / 40 for c in range(64)]
LONG = [1 + c for c in range(64)]

# Each as a config.json holds it: the old spelling and the new one, what may be left out left out.
SETTINGS = {
    "linear": dict(rope_scaling=dict(type="linear", factor=4.0)),
    "dynamic": dict(rope_scaling=dict(type="dynamic", factor=4.0)),
    "llama3": dict(
        rope_theta=500000.0,
        max_position_embeddings=131072,
        rope_scaling=dict(
            rope_type="llama3",
            factor=8.0,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_position_embeddings=8192,
        ),
    ),
    "yarn as Qwen writes it": dict(
        max_position_embeddings=131072,
        rope_theta=1000000.0,
        rope_scaling=dict(type="yarn", factor=4.0, original_max_position_embeddings=32768),
    ),
    "yarn as DeepSeek writes it": dict(
        max_position_embeddings=163840,
        rope_scaling=dict(
            type="yarn",
            factor=40,
            original_max_position_embeddings=4096,
            beta_fast=32,
            beta_slow=1,
            mscale=1.0,
            mscale_all_dim=0.707,
        ),
    ),
    "yarn without truncation, with an attention factor and other bounds": dict(
        max_position_embeddings=8192,
        rope_parameters=dict(
            rope_type="yarn",
            rope_theta=150000.0,
            factor=32.0,
            original_max_position_embeddings=4096,
            beta_fast=20.0,
            beta_slow=2.0,
            truncate=False,
            attention_factor=1.5,
        ),
    ),
    "yarn of a factor that follows from the positions": dict(
        max_position_embeddings=16384,
        rope_scaling=dict(rope_type="yarn", factor=None, original_max_position_embeddings=2048),
    ),
    "yarn whose range is one pair": dict(
        max_position_embeddings=4096,
        rope_parameters=dict(
            rope_type="yarn",
            rope_theta=10000.0,
            factor=2.0,
            original_max_position_embeddings=6,
            beta_fast=0.9,
            beta_slow=0.9,
            truncate=False,
        ),
    ),
    "longrope as Phi writes it": dict(
        max_position_embeddings=131072,
        original_max_position_embeddings=4096,
        rope_scaling=dict(type="longrope", short_factor=SHORT, long_factor=LONG),
    ),
    "longrope with a factor and an attention factor": dict(
        max_position_embeddings=131072,
        rope_parameters=dict(
            rope_type="longrope",
            rope_theta=10000.0,
            short_factor=SHORT,
            long_factor=LONG,
            factor=8.0,
            attention_factor=1.19,
            original_max_position_embeddings=4096,
        ),
    ),
}

MODEL = dict(
    hidden_size=32,
    intermediate_size=36,
    num_hidden_layers=1,
    num_attention_heads=2,
    num_key_value_heads=1,
    vocab_size=96,
    max_position_embeddings=128,
    bos_token_id=1,
    eos_token_id=2,
    tie_word_embeddings=True,
    attn_implementation="eager",
)
MODELS = {
    "dynamic": dict(rope_type="dynamic", rope_theta=10000.0, factor=2.0),
    "yarn": dict(
        rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32, beta_fast=4.0
    ),
    "longrope": dict(
        rope_type="longrope",
        rope_theta=10000.0,
        short_factor=[1.0, 1.1, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0],
        long_factor=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
        factor=4.0,
        original_max_position_embeddings=100,
    ),
}


def frequencies(settings):
    """config.json and what transformers makes of it for a sequence of one token."""
    # A copy: transformers fills in what is left out.
    config = transformers.LlamaConfig(**SIZES, **json.loads(json.dumps(settings)))
    kind = config.rope_parameters["rope_type"]
    inv_freq, attention_factor = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=1)
    given = dict(model_type="llama", **SIZES, max_position_embeddings=2048) | settings
    return dict(config=given, inv_freq=inv_freq.tolist(), attention_factor=float(attention_factor))


def make_model(name, index, out):
    model = random_model(transformers.LlamaConfig(**MODEL, rope_parameters=MODELS[name]), SEED + index)
    sequences = random_sequences(LENGTHS, SEED + 100 + index)
    with torch.no_grad():
        # One by one: no neighbour's length may show.
        logits = torch.cat([batch_logits(model, [sequence])[0] for sequence in sequences])
    save_model(model, out / name, dict(logits=logits))
    return dict(name=name, sequences=sequences)


def main(out: pathlib.Path) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    shutil.rmtree(out, ignore_errors=True)
    versions = dict(torch=torch.__version__, transformers=transformers.__version__)
    models = [make_model(name, index, out) for index, name in enumerate(MODELS)]
    settings = {name: frequencies(given) for name, given in SETTINGS.items()}
    made = dict(versions=versions, seed=SEED, settings=settings, models=models)
    (out / "ropes.json").write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(__file__).resolve().parent.parent / "ropes")
