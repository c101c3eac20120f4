"""
The Llama of a peer's task in PyTorch, as transformers has it, on the CPU in f32.

    python3 bench/peers/torch_train.py FOLDER THREADS

FOLDER holds config.json, model.safetensors and task.json (rows, length, ids, targets, coefficients, config). Asked, it answers:
    {"do": "mean_logprob"}                          {"value": ...}
    {"do": "step"}                                  {"value": the gradient's norm before clipping}
    {"do": "decode", "prompts": [...], "count": n}  {"tokens": [[...], ...]}, greedy
"""
import json
import pathlib
import sys

from python_lines import answer, asked, lack

try:
    import torch
    import transformers
except ImportError as error:
    lack(error)

folder, threads = pathlib.Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(threads)
task = json.loads((folder / "task.json").read_text())
config = task["config"]
shape = (task["rows"], task["length"])
ids, targets = (torch.tensor(task[name]).view(shape) for name in ("ids", "targets"))
coefficients = torch.tensor(task["coefficients"])[:, None]
model = transformers.LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
model.generation_config = transformers.GenerationConfig(do_sample=False, use_cache=True, pad_token_id=0)
optimizer = torch.optim.AdamW(
    model.parameters(), lr=config["learning_rate"], betas=(config["adam_beta1"], config["adam_beta2"]),
    eps=config["adam_epsilon"], weight_decay=config["weight_decay"], fused=True)


def logprobs():
    logits = model(ids, use_cache=False).logits
    return -torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(shape)


def mean_logprob():
    with torch.no_grad():
        return logprobs().mean().item()


def step():
    loss = -(logprobs() * coefficients).sum()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config["max_grad_norm"])
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return norm.item()


def decode(prompts, count):
    read = torch.tensor(prompts)
    with torch.no_grad():
        made = model.generate(input_ids=read, attention_mask=torch.ones_like(read), max_new_tokens=count)
    return made[:, read.shape[1]:].tolist()


answer(version=torch.__version__, transformers=transformers.__version__)
while (request := asked()) is not None:
    try:
        if request["do"] == "decode":
            answer(tokens=decode(request["prompts"], request["count"]))
        else:
            answer(value={"mean_logprob": mean_logprob, "step": step}[request["do"]]())
    except Exception as error:  # told to the one who asked, who ends this program
        answer(error=f"{type(error).__name__}: {error}")
