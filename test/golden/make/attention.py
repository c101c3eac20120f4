"""Writes test/golden/attention.json and attention.safetensors: attention and logits as Gemma 2 and 3 have them.

Attention: transformers' own eager_attention_forward of Gemma 2 (grouped heads, a scale, a softcap) under the mask of
its sliding_window_causal_mask_function, of sequences one at a time, and the gradients of q, k and v from a given
gradient of the output. That of the first `prompt` rows of a sequence is 0: what its keys and values get then comes from
the rows after them alone, as where a prompt is computed once for its completions.

Logits: of hidden states through a head, divided and bounded as Granite and Gemma 2 do, then log-probabilities at a
temperature, and the gradients of hidden states and head. All in float32.

Run: python test/golden/make/attention.py (packages: requirements.txt beside it)
"""

import json
import pathlib
import types

import torch
import transformers
from safetensors.torch import save_file
from transformers.masking_utils import causal_mask_function, sliding_window_causal_mask_function
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

SEED = 5077
OUT = pathlib.Path(__file__).resolve().parents[1]
# Heads, key heads, width of a head, scale, softcap, window; rows of each sequence, and how many are its prompt's.
CASES = [
    (4, 2, 16, 0.4, 2.0, 7, [29, 10, 3], [9, 4, 0]),
    (4, 1, 256, 0.0625, None, 4, [9], [5]),
    (3, 1, 24, 0.3, 5.0, None, [17, 12], [8, 1]),
    (2, 2, 20, 0.25, None, 1, [8], [2]),
]
NAMES = ["heads", "kvHeads", "headDim", "scale", "softcap", "window", "rows", "prompts"]
HEADS = [
    {"softcap": 1.5, "divisor": None, "temperature": 0.8},
    {"softcap": None, "divisor": 8.0, "temperature": 1.0},
    {"softcap": 2.0, "divisor": 0.5, "temperature": 1.2},
]
ROWS, WIDTH, VOCAB = 11, 12, 61


def mask(rows: int, window: int | None) -> torch.Tensor:
    """What is added to the scores: [1, 1, rows, rows]."""
    sees = causal_mask_function if window is None else sliding_window_causal_mask_function(window)
    places = [torch.tensor(i) for i in range(rows)]
    seen = torch.tensor([[bool(sees(0, 0, i, j)) for j in places] for i in places])
    return torch.where(seen, 0.0, torch.finfo(torch.float32).min)[None, None]


def attend(case: dict, rows: int, prompt: int, generator: torch.Generator) -> dict:
    """q, k, v, dy of a sequence [rows, heads * headDim], its o, and its gradients."""
    heads, kv_heads, width = case["heads"], case["kvHeads"], case["headDim"]
    q, k, v, dy = (
        torch.rand(rows, count * width, generator=generator) * 4 - 2 for count in (heads, kv_heads, kv_heads, heads)
    )
    dy[:prompt] = 0
    for x in (q, k, v):
        x.requires_grad_(True)

    def by_head(x):
        return x.view(1, rows, -1, width).transpose(1, 2)

    module = types.SimpleNamespace(num_key_value_groups=heads // kv_heads, training=False)
    o, _ = eager_attention_forward(
        module,
        by_head(q),
        by_head(k),
        by_head(v),
        mask(rows, case["window"]),
        scaling=case["scale"],
        softcap=case["softcap"],
    )
    o = o.reshape(rows, heads * width)
    o.backward(dy)
    made = {"q": q, "k": k, "v": v, "dy": dy, "o": o, "dq": q.grad, "dk": k.grad, "dv": v.grad}
    return {name: tensor.detach() for name, tensor in made.items()}


def logprobs(case: dict, generator: torch.Generator) -> dict:
    hidden = (torch.rand(ROWS, WIDTH, generator=generator) * 2 - 1).requires_grad_(True)
    head = (torch.rand(VOCAB, WIDTH, generator=generator) * 2 - 1).requires_grad_(True)
    tokens = torch.randint(VOCAB, (ROWS,), generator=generator)
    upstream = torch.rand(ROWS, generator=generator) * 2 - 1
    logits = hidden @ head.T
    if case["divisor"] is not None:
        logits = logits / case["divisor"]
    if case["softcap"] is not None:
        logits = torch.tanh(logits / case["softcap"]) * case["softcap"]
    chosen = torch.log_softmax(logits / case["temperature"], dim=-1).gather(1, tokens[:, None])[:, 0]
    chosen.backward(upstream)
    made = {"hidden": hidden, "head": head, "tokens": tokens.int(), "upstream": upstream, "logits": logits}
    made |= {"logprobs": chosen, "dhidden": hidden.grad, "dhead": head.grad}
    return {name: tensor.detach() for name, tensor in made.items()}


def main() -> None:
    generator = torch.Generator().manual_seed(SEED)
    tensors = {}
    cases = [dict(zip(NAMES, case)) for case in CASES]
    for index, case in enumerate(cases):
        made = [attend(case, *sizes, generator) for sizes in zip(case["rows"], case["prompts"])]
        for name in made[0]:
            tensors[f"attention{index}.{name}"] = torch.cat([one[name] for one in made]).contiguous()
    for index, case in enumerate(HEADS):
        tensors |= {f"head{index}.{name}": tensor.contiguous() for name, tensor in logprobs(case, generator).items()}
    save_file(tensors, OUT / "attention.safetensors")
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    fixture = {"versions": versions, "attention": cases, "heads": HEADS}
    (OUT / "attention.json").write_text(json.dumps(fixture, indent=1) + "\n")


if __name__ == "__main__":
    main()
