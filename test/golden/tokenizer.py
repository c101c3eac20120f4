"""Writes tokenizer.json: ids of the two tiny tokenizers by Python's tokenizers (pip install tokenizers).

Run from the repository root, with the two tokenizer.json in folders made by writeTokenizer() of
test/unit/tiny_tokenizer.ts:  python test/golden/tokenizer.py LLAMA2_DIR LLAMA3_DIR
"""
import json
import pathlib
import sys

from tokenizers import Tokenizer

TEXTS = [
    "hello the world", " hello", "hello  hello", "the</s>hello", "a<s>", "<|eot_id|> b", "é😀 ünïcode", "line\nbreak\t!",
    "BEGINNING OF CONVERSATION: USER: hello ASSISTANT:", "\u2581 hello", "don't", "日本語", "x" * 40, " ", "\u0000",
]


def cases(folder):
    tokenizer = Tokenizer.from_file(str(pathlib.Path(folder) / "tokenizer.json"))
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        yield {"text": text, "ids": ids, "decoded": tokenizer.decode(ids, skip_special_tokens=True)}


golden = {"Llama 2": list(cases(sys.argv[1])), "Llama 3": list(cases(sys.argv[2]))}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")
