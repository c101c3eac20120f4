"""Tiny random checkpoints of every supported family, and what transformers computes with them.

Pins src/policy/{model_config,weights,llama,generate}.ts: logits and token log-probs of a left-padded batch,
the gradient of a token-weighted sum of log-probs for every parameter, greedy completions (with and without
an end token), and for two families in bf16 the logits by bf16 and by f32 arithmetic.

Writes test/golden/models/: cases.json, and a folder per model with config.json and model.safetensors as
save_pretrained writes them, and expected.safetensors (padding dropped, sequences laid end to end).

    python test/golden/make/models.py      # the packages of requirements.txt; a few seconds on a CPU
"""

import json
import pathlib
import shutil
import tempfile

import safetensors
import torch
import transformers
from safetensors.torch import save_file

SEED = 20260214
TEMPERATURE = 0.7
NEW_TOKENS = 64
PAD = 0
# One token alone, one completion of one token, and one sequence that is longer than a block or a tile of keys.
PROMPT_LENGTHS = [1, 9, 37, 12]
COMPLETION_LENGTHS = [6, 1, 8, 2]
GREEDY_PROMPT_LENGTHS = [4, 17, 16, 2]  # a block of keys, and one token more
BF16_FAMILIES = ["mistral", "qwen2"]
# A greedy choice nearer than this to the next best could fall either way in f32.
SMALLEST_MARGIN = 1e-3

SHARED = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    vocab_size=96,
    max_position_embeddings=128,
    bos_token_id=1,
    eos_token_id=2,
    attn_implementation="eager",
)
LLAMA3_ROPE = dict(
    rope_type="llama3",
    rope_theta=10000.0,
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    # Puts one of the four frequencies of a head into the band between, where the two are blended.
    original_max_position_embeddings=64,
)
# Widths that are no multiple of 8, of 4 or of 2 take other kernels than round ones. An eps of the usual 1e-5 or 1e-6
# shows in no logit, so two families have one that does.
FAMILIES = {
    "llama2": lambda: transformers.LlamaConfig(**SHARED, intermediate_size=48, rms_norm_eps=1e-5),
    "llama3": lambda: transformers.LlamaConfig(
        **SHARED,
        intermediate_size=48,
        num_key_value_heads=2,
        rope_parameters=LLAMA3_ROPE,
        tie_word_embeddings=True,
    ),
    "llama_biases": lambda: transformers.LlamaConfig(
        **(SHARED | dict(num_hidden_layers=1, hidden_size=21, num_attention_heads=3)),
        intermediate_size=40,
        num_key_value_heads=1,
        head_dim=20,
        rms_norm_eps=0.05,
        rope_parameters=dict(rope_type="linear", rope_theta=500.0, factor=2.5),
        attention_bias=True,
        mlp_bias=True,
    ),
    "mistral": lambda: transformers.MistralConfig(
        **SHARED, intermediate_size=45, num_key_value_heads=2, head_dim=12, sliding_window=96
    ),
    "qwen2": lambda: transformers.Qwen2Config(
        **(SHARED | dict(vocab_size=97)),
        intermediate_size=44,
        num_key_value_heads=2,
        rope_parameters=dict(rope_type="default", rope_theta=1000000.0),
        tie_word_embeddings=True,
    ),
    "qwen3": lambda: transformers.Qwen3Config(
        **SHARED, intermediate_size=48, num_key_value_heads=2, head_dim=16, rms_norm_eps=0.02
    ),
}


def random_model(config, seed, norm_centre=1):
    """Random in every parameter, wide enough that logits vary by several units."""
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "norm" in name:
                parameter.copy_(norm_centre + 0.3 * noise)
            else:
                parameter.copy_((0.6 if "embed" in name or "lm_head" in name else 0.3) * noise)
    return model


def random_sequences(lengths, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, 96, (length,), generator=generator).tolist() for length in lengths]


def left_padded(sequences):
    """ids, attention mask and positions, each [B, T]."""
    longest = max(map(len, sequences))
    ids = torch.tensor([[PAD] * (longest - len(s)) + s for s in sequences])
    mask = torch.tensor([[0] * (longest - len(s)) + [1] * len(s) for s in sequences])
    return ids, mask, (mask.cumsum(-1) - 1).clamp(min=0)


def batch_logits(model, sequences):
    """Logits at the tokens of each sequence, computed in one left-padded batch: a list of [length, V]."""
    ids, mask, positions = left_padded(sequences)
    logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits
    return [row[len(row) - len(s) :] for row, s in zip(logits, sequences)]


def completion_logprobs(logits, prompts, completions):
    """Log-probs of the completion tokens at TEMPERATURE, of all sequences end to end."""
    picked = []
    for row, prompt, completion in zip(logits, prompts, completions):
        predicting = row[len(prompt) - 1 : -1] / TEMPERATURE
        picked.append(predicting.log_softmax(-1).gather(-1, torch.tensor(completion)[:, None])[:, 0])
    return torch.cat(picked)


def greedy(model, prompts, eos):
    """New tokens of each row up to and with its end token, and the smallest lead of a chosen logit."""
    ids, mask, _ = left_padded(prompts)
    model.generation_config = transformers.GenerationConfig(
        do_sample=False, max_new_tokens=NEW_TOKENS, eos_token_id=eos, pad_token_id=PAD, bos_token_id=1
    )
    made = model.generate(
        input_ids=ids, attention_mask=mask, output_logits=True, return_dict_in_generate=True
    )
    best = torch.stack(made.logits).topk(2, dim=-1).values
    rows = []
    for row in made.sequences[:, ids.shape[1] :].tolist():
        rows.append(row[: row.index(eos) + 1] if eos is not None and eos in row else row)
    return rows, (best[..., 0] - best[..., 1]).min().item()


def greedy_cases(model, seed):
    """64 tokens for every row; once more with an end token that some rows reach early, some late or never."""
    for attempt in range(60):
        prompts = random_sequences(GREEDY_PROMPT_LENGTHS, seed + 1000 * attempt)
        free, margin = greedy(model, prompts, None)
        ends = {token: [row.index(token) if token in row else NEW_TOKENS for row in free] for token in range(96)}
        eos = max(ends, key=lambda token: max(ends[token]) - min(ends[token]) if min(ends[token]) > 1 else 0)
        ended, _ = greedy(model, prompts, eos)
        if margin > SMALLEST_MARGIN and len({len(row) for row in ended}) > 1:
            break
    assert margin > SMALLEST_MARGIN and all(len(row) == NEW_TOKENS for row in free)
    assert len({len(row) for row in ended}) > 1
    return dict(prompts=prompts, free=free, smallestMargin=margin, eosId=eos, ended=ended)


def save_model(model, folder, expected):
    """config.json and model.safetensors as transformers writes them, and the expected tensors."""
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch:
        model.save_pretrained(scratch)
        for name in ["config.json", "model.safetensors"]:
            shutil.copy(pathlib.Path(scratch) / name, folder / name)
    tensors = {name: tensor.contiguous() for name, tensor in expected.items()}
    save_file(tensors, folder / "expected.safetensors")


def make_family(name, model, seed, out):
    """One family in f32: returns its part of cases.json."""
    prompts = random_sequences(PROMPT_LENGTHS, seed + 1)
    completions = random_sequences(COMPLETION_LENGTHS, seed + 2)
    logits = batch_logits(model, [p + c for p, c in zip(prompts, completions)])
    logprobs = completion_logprobs(logits, prompts, completions)
    weights = torch.randn(len(logprobs), generator=torch.Generator().manual_seed(seed + 3))
    (weights * logprobs).sum().backward()
    expected = {
        "logits": torch.cat(logits).detach(),
        "logprobs": logprobs.detach(),
        "token_weights": weights,
        **{f"grad.{key}": parameter.grad for key, parameter in model.named_parameters()},
    }
    save_model(model, out / name, expected)
    with torch.no_grad():
        return dict(
            name=name,
            prompts=prompts,
            completions=completions,
            greedy=greedy_cases(model, seed + 4),
        )


def make_bf16(case, index, out):
    """The same weights rounded to bf16, computed in f32 and in bf16."""
    folder = out / f"{case['name']}_bf16"
    save_model(random_model(FAMILIES[case["name"]](), SEED + 10 * index).to(torch.bfloat16), folder, {})
    sequences = [p + c for p, c in zip(case["prompts"], case["completions"])]

    @torch.no_grad()
    def logits_by(dtype):
        # Loaded, not converted: .to(bfloat16) would round the rope frequencies as well.
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, attn_implementation="eager"
        )
        return torch.cat(batch_logits(model.eval(), sequences)).float()

    by_f32, by_bf16 = logits_by(torch.float32), logits_by(torch.bfloat16)
    save_file(dict(logits=by_f32), folder / "expected.safetensors")
    gap = ((by_bf16 - by_f32).abs().amax(-1) / by_f32.abs().amax(-1)).max().item()
    return dict(name=case["name"], folder=folder.name, gap=gap)


def main(out: pathlib.Path) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    shutil.rmtree(out, ignore_errors=True)
    names = list(FAMILIES)
    cases = []
    for index, name in enumerate(names):
        seed = SEED + 10 * index
        cases.append(make_family(name, random_model(FAMILIES[name](), seed), seed, out))
    bf16 = [make_bf16(cases[names.index(name)], names.index(name), out) for name in BF16_FAMILIES]
    versions = dict(
        torch=torch.__version__, transformers=transformers.__version__, safetensors=safetensors.__version__
    )
    made = dict(versions=versions, seed=SEED, temperature=TEMPERATURE, cases=cases, bf16=bf16)
    (out / "cases.json").write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main(pathlib.Path(__file__).resolve().parent.parent / "models")
