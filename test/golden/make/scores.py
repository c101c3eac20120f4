"""Writes test/golden/scores/: tiny LlamaForScore checkpoints as safe-rlhf saves them, and scores of texts.

A folder per case, bias or none x normalizer on or off x reward or cost: config.json with safe-rlhf's keys and
spellings and model.safetensors with model.*, score_head.* and the normalizer's buffers (vectors of one
element). The weights are bf16, as such models are trained and released; one folder is f32. Half have grouped
key heads.

The scores are those of safe-rlhf's definition (score_head of the last hidden states, in f32 from there; the
end score at the last attended token; its normalizer), stated again here in plain PyTorch over transformers'
LlamaModel, on a right-padded batch with its attention mask: in f32 arithmetic, and for the bf16 folders also
in bf16 arithmetic as they would be served.

Two of the folders have the vocabulary of tokenizer/, and scores of conversations in safe-rlhf's format.

Run: python test/golden/make/scores.py (packages: requirements.txt beside it)
"""

import itertools
import json
import pathlib
import shutil

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaModel

SEED = 4242
LENGTHS = [5, 1, 12, 2, 27, 8]
HIDDEN = 32
VOCABULARY = 64
OUT = pathlib.Path(__file__).resolve().parents[1]
F32_CASE = "cost_bias"
TEXT_CASES = {"reward_bias_normalized", "cost_normalized"}

PROMPTS = [
    "hello",
    "How do I bake bread?",
    "",
    "USER: what is this? ASSISTANT:",
    "Line one\nline two",
    "caf\u00e9 \U0001f600",
]
RESPONSES = ["Hi!", " With flour, water and salt.", "?", "no", "", " d\u00e9j\u00e0 vu \u4f60\u597d"]
TEMPLATE = "BEGINNING OF CONVERSATION: USER: {prompt} ASSISTANT:{response}"


def byte_tokenizer() -> Tokenizer:
    """Byte-level, without merges."""
    specials = ["<unk>", "<s>", "</s>"]
    vocabulary = {token: i for i, token in enumerate(specials + sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.add_special_tokens(specials)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


class LlamaForScore(torch.nn.Module):
    """safe-rlhf's definition, stated again."""

    def __init__(
        self, config: LlamaConfig, bias: bool, score_type: str, mean: torch.Tensor, var: torch.Tensor
    ):
        super().__init__()
        self.model = LlamaModel(config)
        self.score_head = torch.nn.Linear(config.hidden_size, 1, bias=bias)
        self.score_type = score_type
        self.mean = mean
        self.var = var

    def normalize(self, scores: torch.Tensor) -> torch.Tensor:
        centred = scores - self.mean if self.score_type == "reward" else scores
        return centred / (self.var.sqrt() + 1e-8)

    @torch.no_grad()
    def forward(self, sequences: list[list[int]], do_normalize: bool) -> torch.Tensor:
        longest = max(map(len, sequences))
        ids = torch.tensor([tokens + [0] * (longest - len(tokens)) for tokens in sequences])
        mask = torch.tensor([[1] * len(tokens) + [0] * (longest - len(tokens)) for tokens in sequences])
        hidden = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        scores = self.score_head(hidden).float()
        end_index = torch.cat([row.nonzero()[-1] for row in mask])
        end_scores = scores[torch.arange(len(sequences)), end_index]
        return (self.normalize(end_scores) if do_normalize else end_scores).squeeze(-1)


def config_json(config: LlamaConfig, case: dict, mean: float, var: float, vectors: bool | None) -> dict:
    """The keys that safe-rlhf and the transformers of its time write. vectors: None for no mean and var."""
    return {
        "architectures": ["LlamaForScore"],
        "bos_token_id": 1,
        "do_normalize": case["normalize"],
        "eos_token_id": 2,
        "hidden_act": "silu",
        "hidden_size": config.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": config.intermediate_size,
        "max_position_embeddings": config.max_position_embeddings,
        # In the weights alone, here alone, or in both: where they differ, the weights win.
        "mean": None if vectors is None else [mean] if vectors else mean,
        "model_type": "llama",
        "normalizer_type": "RunningMeanStd" if case["normalize"] else None,
        "num_attention_heads": config.num_attention_heads,
        "num_hidden_layers": config.num_hidden_layers,
        "num_key_value_heads": config.num_key_value_heads,
        "pad_token_id": 0,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_scaling": None,
        "rope_theta": 10000.0,
        "bias" if case["bias"] else "score_bias": case["bias"],
        "score_dim": 1,
        "score_type": case["type"],
        "tie_word_embeddings": False,
        "torch_dtype": "float32" if case["name"] == F32_CASE else "bfloat16",
        "use_cache": True,
        "var": None if vectors is None else [var] if vectors else var,
        "vocab_size": config.vocab_size,
    }


def cases() -> list[dict]:
    return [
        {
            "name": kind + ("_bias" if bias else "") + ("_normalized" if normalize else ""),
            "type": kind,
            "bias": bias,
            "normalize": normalize,
        }
        for kind, bias, normalize in itertools.product(["reward", "cost"], [True, False], [True, False])
    ]


def write_case(folder: pathlib.Path, case: dict, index: int, tokenizer: Tokenizer) -> dict:
    torch.manual_seed(SEED + index)
    dtype = torch.float32 if case["name"] == F32_CASE else torch.bfloat16
    with_texts = case["name"] in TEXT_CASES
    config = LlamaConfig(
        hidden_size=HIDDEN,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1 if index % 2 else 2,
        vocab_size=tokenizer.get_vocab_size() if with_texts else VOCABULARY,
        max_position_embeddings=256,
        rms_norm_eps=1e-5,
        attn_implementation="eager",
    )
    in_config_only = case["name"] == "cost_bias_normalized"
    mean, var = torch.randn(1) * 2, torch.rand(1) * 4 + 0.5
    if in_config_only:
        var *= 1e-14  # so small that the 1e-8 beside its root shows
    model = LlamaForScore(config, case["bias"], case["type"], mean, var)
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name else 0.0, std=0.2)
    weights = {name: value.to(dtype) for name, value in model.state_dict().items()}
    model.load_state_dict({name: value.float() for name, value in weights.items()})
    # Buffers in three of four normalized cases, and in one that must not use them.
    if (case["normalize"] and not in_config_only) or case["name"] == "reward":
        model.mean, model.var = mean.to(dtype).float(), var.to(dtype).float()
        weights["normalizer.mean"] = mean.to(dtype)
        weights["normalizer.var"] = var.to(dtype)
        weights["normalizer.count"] = torch.tensor([1000])
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    vectors = None if case["name"] == "cost_normalized" else in_config_only or case["bias"]
    shift = 0.0 if in_config_only else 1.0
    written = config_json(config, case, mean.item() + shift, var.item() + shift, vectors)
    (folder / "config.json").write_text(json.dumps(written, indent=2) + "\n")

    sequences = [torch.randint(3, VOCABULARY, (length,)).tolist() for length in LENGTHS]
    golden = {**case, "sequences": sequences, "scores": model(sequences, case["normalize"]).tolist()}
    if with_texts:
        pairs = zip(PROMPTS, RESPONSES)
        texts = [TEMPLATE.format(prompt=prompt, response=response) for prompt, response in pairs]
        ids = [tokenizer.encode(text + "</s>").ids for text in texts]
        golden["text_scores"] = model(ids, case["normalize"]).tolist()
    if dtype == torch.bfloat16:
        golden["bf16_scores"] = model.to(dtype)(sequences, case["normalize"]).tolist()
    return golden


def main(out: pathlib.Path = OUT) -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(True)
    root = out / "scores"
    shutil.rmtree(root, ignore_errors=True)
    tokenizer = byte_tokenizer()
    golden = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "seed": SEED,
        "prompts": PROMPTS,
        "responses": RESPONSES,
        "cases": [write_case(root / case["name"], case, i, tokenizer) for i, case in enumerate(cases())],
    }
    (root / "scores.json").write_text(json.dumps(golden) + "\n")
    (root / "tokenizer").mkdir()
    (root / "tokenizer" / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer.to_str())) + "\n")
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (root / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(settings) + "\n")


if __name__ == "__main__":
    main()
