"""
PyTorch on the same device, the peer of a GPU report: raw products and attention, and a training step as TRL makes it.

    python3 bench/gpu_report/torch_peer.py [--small] [--seconds 60]

Prints a line of JSON for each case as it is measured:
    {"name": ..., "seconds": ..., "flops": ..., "bytes": ...}
and {"name": ..., "reason": ...} for one that does not run. The shapes are those of a 7B Llama (four of its layers for the
step), --small replaces them by tiny ones, to see on a CPU whether all of it runs. Cases past the time limit are left out.
"""
import argparse
import json
import time

import torch

SMALL = dict(copy=2**20, square=128, rows=(4, 16), sizes=((64, 64), (96, 64)), heads=2, head_dim=16, tokens=40, hidden=64,
             intermediate=96, layers=2, vocab=256, completions=4, prompt=8, completion=8, new_tokens=4)
FULL = dict(copy=2**30, square=8192, rows=(60, 512, 2048), sizes=((4096, 4096), (11008, 4096), (4096, 11008), (32000, 4096)),
            heads=32, head_dim=128, tokens=640, hidden=4096, intermediate=11008, layers=4, vocab=32000, completions=60,
            prompt=128, completion=512, new_tokens=64)

parser = argparse.ArgumentParser()
parser.add_argument("--small", action="store_true")
parser.add_argument("--seconds", type=float, default=60)
options = parser.parse_args()
shape = SMALL if options.small else FULL
device = "cuda" if torch.cuda.is_available() else "cpu"
began = time.perf_counter()


def say(**line):
    print(json.dumps(line), flush=True)


def settle():
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(run):
    """The fastest of several runs, after one that warms up."""
    run()
    settle()
    best, spent = float("inf"), 0.0
    for _ in range(20):
        start = time.perf_counter()
        run()
        settle()
        took = time.perf_counter() - start
        best, spent = min(best, took), spent + took
        if spent > 0.5:
            break
    return best


def case(name, make, flops=None, moved=None):
    """`make` returns what is timed; what it allocates is freed with it."""
    if time.perf_counter() - began > options.seconds:
        say(name=name, reason=f"after {options.seconds:.0f} s no further case begins")
        return
    try:
        run = make()
        say(name=name, seconds=seconds_of(run), flops=flops, bytes=moved)
    except Exception as error:  # a case that fails must not take the others with it
        say(name=name, reason=f"{type(error).__name__}: {error}".split("\n")[0][:200])
    if device == "cuda":
        torch.cuda.empty_cache()


def copy():
    source = torch.randn(shape["copy"] // 4, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def product(m, n, k, dtype):
    def make():
        x, w = torch.randn(m, k, device=device, dtype=dtype), torch.randn(n, k, device=device, dtype=dtype)
        return lambda: torch.nn.functional.linear(x, w)
    return make


def attention(backward):
    def make():
        size = (1, shape["heads"], shape["tokens"], shape["head_dim"])
        q, k, v = (torch.randn(size, device=device, dtype=torch.bfloat16, requires_grad=backward) for _ in range(3))
        dy = torch.randn(size, device=device, dtype=torch.bfloat16)

        def run():
            out = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            if backward:
                torch.autograd.grad(out, (q, k, v), dy)
        return run
    return make


def policy():
    """Layers of the 7B shape in bf16 with LoRA of rank 16 on q and v, as TRL trains it."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM
    config = LlamaConfig(
        vocab_size=shape["vocab"], hidden_size=shape["hidden"], intermediate_size=shape["intermediate"],
        num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"], num_key_value_heads=shape["heads"],
        max_position_embeddings=2048)
    with torch.device(device):
        base = LlamaForCausalLM(config).to(torch.bfloat16)
    base.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    base.enable_input_require_grads()
    return get_peft_model(base, LoraConfig(r=16, lora_alpha=32, target_modules=["q_proj", "v_proj"]))


def batch(rows):
    return torch.randint(3, shape["vocab"], (rows, shape["prompt"] + shape["completion"]), device=device)


def log_probs(model, ids):
    logits = model(ids, use_cache=False).logits[:, :-1].float()
    return torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None])[..., 0][:, -shape["completion"]:]


def training(model, rows):
    def make():
        model.train()
        ids, advantage = batch(rows), torch.randn(rows, 1, device=device)

        def run():
            own = log_probs(model, ids)
            ratio = torch.exp(own - own.detach())
            (-(ratio * advantage).mean()).backward()
            model.zero_grad()
        return run
    return make


def reference(model, rows):
    def make():
        ids = batch(rows)

        def run():
            with torch.no_grad(), model.disable_adapter():
                log_probs(model, ids)
        return run
    return make


def decoding(model):
    def make():
        model.eval()
        prompts = torch.randint(3, shape["vocab"], (shape["completions"], shape["prompt"]), device=device)

        def run():
            with torch.no_grad():
                model.generate(input_ids=prompts, attention_mask=torch.ones_like(prompts), do_sample=True, pad_token_id=0,
                               eos_token_id=None, max_new_tokens=shape["new_tokens"], min_new_tokens=shape["new_tokens"])
        return run
    return make


say(name="torch", version=torch.__version__, device=torch.cuda.get_device_name() if device == "cuda" else "cpu")
torch.backends.cuda.matmul.allow_tf32 = False
square = shape["square"]
case("torch copy", copy, moved=2 * shape["copy"])
case(f"torch bf16 {square}^3", product(square, square, square, torch.bfloat16), flops=2 * square**3)
case(f"torch f32 {square}^3", product(square, square, square, torch.float32), flops=2 * square**3)
for n, k in shape["sizes"]:
    for m in shape["rows"]:
        case(f"torch bf16 {m} x {n} x {k}", product(m, n, k, torch.bfloat16), flops=2 * m * n * k)
pairs = shape["tokens"] * (shape["tokens"] + 1) // 2
forward = 4 * pairs * shape["heads"] * shape["head_dim"]
case("torch attention", attention(False), flops=forward)
case("torch attention, forward and backward", attention(True), flops=3.5 * forward)
try:
    model = policy()
except Exception as error:
    say(name="torch step", reason=f"{type(error).__name__}: {error}".split("\n")[0][:200])
else:
    for rows in (1, 4):
        case(f"torch training pass, {rows} completions, {shape['layers']} layers", training(model, rows))
        case(f"torch reference pass, {rows} completions, {shape['layers']} layers", reference(model, rows))
    case(f"torch decode, {shape['completions']} rows x {shape['new_tokens']} tokens, {shape['layers']} layers",
         decoding(model))
