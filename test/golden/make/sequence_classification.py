"""Writes test/golden/sequence_classification/: tiny classifiers as transformers saves them, and their logits.

A folder per model of transformers' own ...ForSequenceClassification classes (score.weight without a bias, one label or
several), config.json as save_pretrained writes it. Paddings: a token of its own, the end token, none. Some are stored in
bf16; all logits are those of f32 arithmetic, on a right-padded batch (where config.json names no padding, one text at a
time, as transformers demands). Sequences end in the padding token, hold it inside, or are nothing else: transformers reads
the last token that is another.

Two of the models have the vocabulary of tokenizer/, whose chat template is ours, in the style of ChatML: their logits of
conversations are those of apply_chat_template's ids.

Run: python test/golden/make/sequence_classification.py (packages: requirements.txt beside it)
"""

import json
import pathlib
import shutil

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Gemma2Config,
    Gemma2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    MistralConfig,
    MistralForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForSequenceClassification,
    Qwen3Config,
    Qwen3ForSequenceClassification,
)

OUT = pathlib.Path(__file__).resolve().parents[1]
SEED = 777
SPECIALS = ["<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"]
PAD, IM_END = SPECIALS.index("<pad>"), SPECIALS.index("<|im_end|>")
VOCABULARY = 64
SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 256,
    "attn_implementation": "eager",
}

TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>' }}"
    "{% if not loop.last %}{{ '\\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n<|im_start|>assistant\\n' }}{% endif %}"
)
CONVERSATIONS = [
    [("user", "hello"), ("assistant", "Hi!")],
    [("system", "Be brief."), ("user", "How do I bake bread?"), ("assistant", " With flour, water and salt. ")],
    [("user", "2 + 2?"), ("assistant", "4"), ("user", "And 3 + 3?"), ("assistant", "6")],
    [("user", "Line one\nline two"), ("assistant", "caf\u00e9 \U0001f600")],
    [("user", ""), ("assistant", "")],
]

MODELS = [
    {
        "name": "llama_one_label",
        "config": LlamaConfig,
        "model": LlamaForSequenceClassification,
        "settings": {"num_labels": 1, "pad_token_id": PAD},
        "texts": True,
    },
    {
        "name": "qwen2_three_labels",
        "config": Qwen2Config,
        "model": Qwen2ForSequenceClassification,
        "settings": {
            "id2label": {0: "safe", 1: "controversial", 2: "unsafe"},
            "label2id": {"safe": 0, "controversial": 1, "unsafe": 2},
            "pad_token_id": IM_END,
            "eos_token_id": IM_END,
        },
        "texts": True,
    },
    {
        "name": "qwen3_two_labels",
        "config": Qwen3Config,
        "model": Qwen3ForSequenceClassification,
        "settings": {"num_labels": 2, "pad_token_id": PAD, "head_dim": 8},
        "bf16": True,
    },
    {
        "name": "mistral_without_padding",
        "config": MistralConfig,
        "model": MistralForSequenceClassification,
        "settings": {"num_labels": 1, "sliding_window": None},
        "bf16": True,
    },
    {
        "name": "gemma2_one_label",
        "config": Gemma2Config,
        "model": Gemma2ForSequenceClassification,
        "settings": {
            "num_labels": 1,
            "head_dim": 8,
            "pad_token_id": PAD,
            "sliding_window": 8,
            "attn_logit_softcapping": 5.0,
            "query_pre_attn_scalar": 8,
        },
    },
]


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level, without merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(SPECIALS + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(SPECIALS)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="<|im_end|>",
        pad_token="<pad>",
        unk_token="<unk>",
        chat_template=TEMPLATE,
    )


def sequences_of(pad: int) -> list[list[int]]:
    """Of unequal lengths; some end in padding tokens of their own, hold them inside, or are nothing else."""
    drawn = torch.randint(6, VOCABULARY, (6, 24)).tolist()
    lengths = [5, 1, 12, 2, 24, 8]
    plain = [row[:length] for row, length in zip(drawn, lengths)]
    return plain + [plain[0] + [pad], plain[2] + [pad] * 3, plain[5][:3] + [pad] + plain[5][3:], [pad] * 4]


@torch.no_grad()
def logits_of(model, sequences: list[list[int]], pad: int | None) -> list[list[float]]:
    if pad is None:
        return [model(input_ids=torch.tensor([row])).logits[0].tolist() for row in sequences]
    longest = max(map(len, sequences))
    ids = torch.tensor([row + [pad] * (longest - len(row)) for row in sequences])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in sequences])
    return model(input_ids=ids, attention_mask=mask).logits.tolist()


def write_model(folder: pathlib.Path, one: dict, index: int, tokenizer: PreTrainedTokenizerFast) -> dict:
    torch.manual_seed(SEED + index)
    texts = one.get("texts", False)
    config = one["config"](**SIZES, vocab_size=len(tokenizer) if texts else VOCABULARY, **one["settings"])
    model = one["model"](config).eval()
    for name, parameter in model.named_parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if "norm" in name else 0.0, std=0.3)
    if one.get("bf16"):
        for parameter in model.parameters():
            parameter.data = parameter.data.bfloat16().float()
        # Another one is stored: the buffers of the one that is asked stay f32.
        stored = one["model"](config)
        stored.load_state_dict(model.state_dict())
        stored.bfloat16().save_pretrained(folder)
    else:
        model.save_pretrained(folder)
    pad = config.pad_token_id
    # Of those without padding, PAD is a token like any other.
    sequences = sequences_of(PAD if pad is None else pad)
    golden = {"name": one["name"], "sequences": sequences, "logits": logits_of(model, sequences, pad)}
    if texts:
        conversations = [[{"role": r, "content": c} for r, c in turns] for turns in CONVERSATIONS]
        encoded = tokenizer.apply_chat_template(conversations, tokenize=True)
        rows = encoded["input_ids"] if not isinstance(encoded, list) else encoded
        golden["conversation_ids"] = rows
        golden["conversation_logits"] = logits_of(model, rows, pad)
    return golden


def main(out: pathlib.Path = OUT) -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float32)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    root = out / "sequence_classification"
    shutil.rmtree(root, ignore_errors=True)
    tokenizer = make_tokenizer()
    golden = {
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "conversations": CONVERSATIONS,
        "cases": [write_model(root / one["name"], one, i, tokenizer) for i, one in enumerate(MODELS)],
    }
    (root / "logits.json").write_text(json.dumps(golden) + "\n")
    (root / "tokenizer").mkdir()
    (root / "tokenizer" / "tokenizer.json").write_text(
        json.dumps(json.loads(tokenizer.backend_tokenizer.to_str())) + "\n"
    )
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "<|im_end|>",
        "pad_token": "<pad>",
        "chat_template": TEMPLATE,
    }
    (root / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(settings) + "\n")


if __name__ == "__main__":
    main()
