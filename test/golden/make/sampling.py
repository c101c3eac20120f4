"""Writes test/golden/sampling.json and sampling.safetensors: what transformers lets a sampler draw.

Kept tokens and probabilities: rows of logits (sampling.safetensors) go through transformers' own processors, chosen and
ordered as GenerationMixin._get_logits_processor does, in float32 as generate() runs. A case is left out (and counted)
where float64, or a top_p or min_p that is 1e-5 off, would keep other tokens: there the set is a matter of rounding.
Greedy decoding with a repetition penalty: generate() on models/quickstart/policy, in float32, once as it ends by itself
and once without an end token.

Run: python test/golden/make/sampling.py (packages: requirements.txt beside it)
"""

import json
import pathlib
import random

import torch
import transformers
from safetensors.torch import save_file
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

SEED = 4711
OUT = pathlib.Path(__file__).resolve().parents[1]
POLICY = OUT.parents[1] / "models" / "quickstart" / "policy"
ROWS = [(97, 0.7), (97, 4.0), (512, 0.7), (512, 5.0), (4096, 0.5), (4096, 3.0)]
TEMPERATURES = [0.3, 0.7, 1.0, 1.5]
TOP_KS = [1, 2, 5, 50, 90, 5000]
TOP_PS = [1e-4, 0.1, 0.5, 0.9, 0.95, 0.999]
MIN_PS = [0.0, 0.001, 0.02, 0.1, 0.5, 1.0]
PENALTIES = [0.7, 1.1, 1.3, 2.5]
TOGETHER_PER_ROW = 12
DRAWS = 50_176
GREEDY_PENALTY = 1.3
GREEDY_TOKENS = 48
# Prompts whose completion without an end token changes when the penalty forgets the prompt.
GREEDY_PROMPTS = [
    "Please tell me how to hang the curtains.",
    "How do I charge the laptop?",
    "I want to learn to ride a bike. What should I do?",
    "How do I start the grill?",
]


def processors(options: dict) -> LogitsProcessorList:
    """As GenerationMixin._get_logits_processor makes them for do_sample=True and one beam."""
    chosen = LogitsProcessorList()
    if options["repetitionPenalty"] != 1:
        chosen.append(RepetitionPenaltyLogitsProcessor(options["repetitionPenalty"]))
    if options["temperature"] != 1:
        chosen.append(TemperatureLogitsWarper(options["temperature"]))
    if options["topK"] != 0:
        chosen.append(TopKLogitsWarper(options["topK"]))
    if options["topP"] < 1:
        chosen.append(TopPLogitsWarper(options["topP"]))
    if options["minP"] is not None:
        chosen.append(MinPLogitsWarper(options["minP"]))
    return chosen


def run_processors(logits: torch.Tensor, history: list[int], options: dict) -> torch.Tensor:
    return processors(options)(torch.tensor([history]), logits[None].clone())[0]


def kept_tokens(scores: torch.Tensor) -> list[int]:
    return torch.isfinite(scores).nonzero().flatten().tolist()


def is_clear(logits: torch.Tensor, history: list[int], options: dict, kept: list[int]) -> bool:
    """Whether the kept set is the same in float64, and with a top_p or min_p that is 1e-5 off."""
    variants = [options]
    for shift in (-1e-5, 1e-5):
        if options["topP"] < 1:
            variants.append(options | {"topP": options["topP"] + shift})
        if options["minP"]:
            variants.append(options | {"minP": min(1.0, options["minP"] * (1 + shift))})
    return all(kept_tokens(run_processors(logits.double(), history, variant)) == kept for variant in variants)


def option_sets(pick: random.Random):
    """Every value alone, then all of them mixed."""
    plain = {"temperature": 1.0, "topK": 0, "topP": 1.0, "minP": None, "repetitionPenalty": 1.0}
    values = {
        "temperature": TEMPERATURES,
        "topK": TOP_KS,
        "topP": TOP_PS,
        "minP": MIN_PS,
        "repetitionPenalty": PENALTIES,
    }
    for name, choices in values.items():
        for value in choices:
            yield plain | {name: value}
    for _ in range(TOGETHER_PER_ROW):
        yield {name: pick.choice(choices + [plain[name]]) for name, choices in values.items()}


def filter_cases(rows: dict, pick: random.Random) -> tuple[list, int]:
    cases, unclear = [], 0
    for name, logits in rows.items():
        vocab = logits.numel()
        likeliest = torch.topk(logits, 12).indices.tolist()
        for index, options in enumerate(option_sets(pick)):
            # Half of the likeliest tokens and some of the others, several of them more than once.
            history = pick.sample(likeliest, 6) + [pick.randrange(vocab) for _ in range(30)]
            history += history[::5]
            scores = run_processors(logits, history, options)
            kept = kept_tokens(scores)
            if not is_clear(logits, history, options, kept):
                unclear += 1
                continue
            case = {"logits": name, "history": history, "options": options}
            case["kept"] = f"{sum(1 << v for v in kept):x}"
            if index % 2 == 0 and len(kept) < 100:
                exact = run_processors(logits.double(), history, options).softmax(dim=-1)
                case["probabilities"] = exact[kept].tolist()
            cases.append(case)
    return cases, unclear


def critical_value(freedom: int, p: float) -> float:
    """The chi-square that is exceeded with probability p, by bisection."""
    low, high = 0.0, 1e4
    half = torch.tensor(freedom / 2, dtype=torch.float64)
    for _ in range(200):
        middle = (low + high) / 2
        tail = torch.special.gammaincc(half, torch.tensor(middle / 2, dtype=torch.float64)).item()
        low, high = (middle, high) if tail > p else (low, middle)
    return low


def draw_case(rows: dict, pick: random.Random) -> dict:
    """A case whose draws are counted: no token is expected fewer than five times."""
    options = {"temperature": 1.3, "topK": 0, "topP": 0.97, "minP": 0.01, "repetitionPenalty": 1.2}
    logits = rows["row1"]
    history = [pick.randrange(97) for _ in range(40)]
    scores = run_processors(logits.double(), history, options)
    kept = kept_tokens(scores)
    probabilities = scores.softmax(dim=-1)[kept]
    assert is_clear(logits, history, options, kept) and len(kept) > 20 and probabilities.min() * DRAWS > 5
    case = {"logits": "row1", "history": history, "options": options, "draws": DRAWS, "tokens": kept}
    case["probabilities"] = probabilities.tolist()
    case["criticalChiSquare"] = critical_value(len(kept) - 1, 1e-4)
    return case


def greedy_case(eos: int | None) -> dict:
    tokenizer = transformers.AutoTokenizer.from_pretrained(POLICY)
    model = transformers.AutoModelForCausalLM.from_pretrained(POLICY, dtype=torch.float32)
    model.generation_config.eos_token_id = eos
    rows, margin, scale = [], float("inf"), 0.0
    for user in GREEDY_PROMPTS:
        prompt = tokenizer(f"BEGINNING OF CONVERSATION: USER: {user} ASSISTANT:", return_tensors="pt")
        made = model.generate(
            **prompt,
            max_new_tokens=GREEDY_TOKENS,
            do_sample=False,
            repetition_penalty=GREEDY_PENALTY,
            output_scores=True,
            return_dict_in_generate=True,
        )
        best = torch.cat([scores.topk(2).values for scores in made.scores])
        margin = min(margin, (best[:, 0] - best[:, 1]).min().item())
        scale = max(scale, best.abs().max().item())
        ids = prompt["input_ids"][0].tolist()
        completion = made.sequences[0, len(ids) :].tolist()
        rows.append({"prompt": ids, "completion": completion})
        forgetful = RepetitionPenaltyLogitsProcessor(GREEDY_PENALTY, prompt_ignore_length=len(ids))
        other = model.generate(
            **prompt,
            max_new_tokens=GREEDY_TOKENS,
            do_sample=False,
            logits_processor=LogitsProcessorList([forgetful]),
        )
        assert eos is not None or other[0, len(ids) :].tolist() != completion, user
    # Close calls would be decided by rounding.
    assert margin > 1e-5 * scale, (margin, scale)
    eos_ids = [] if eos is None else [eos]
    case = {"repetitionPenalty": GREEDY_PENALTY, "maxTokens": GREEDY_TOKENS, "eosIds": eos_ids, "rows": rows}
    return case | {"smallestMargin": margin, "largestLogit": scale}


def main(out: pathlib.Path) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    generator = torch.Generator().manual_seed(SEED)
    pick = random.Random(SEED)
    rows = {
        f"row{i}": torch.randn(vocab, generator=generator) * scale for i, (vocab, scale) in enumerate(ROWS)
    }
    assert all(row.unique().numel() == row.numel() for row in rows.values())
    cases, unclear = filter_cases(rows, pick)
    assert unclear < 0.05 * len(cases), unclear
    fixture = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "seed": SEED,
        "leftOutAsUnclear": unclear,
        "cases": cases,
        "draws": draw_case(rows, pick),
        "greedy": [greedy_case(eos=2), greedy_case(eos=None)],
    }
    (out / "sampling.json").write_text(json.dumps(fixture) + "\n")
    save_file(rows, out / "sampling.safetensors")  # metadata would be written in another order each time


if __name__ == "__main__":
    main(OUT)
