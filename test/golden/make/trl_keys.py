"""Writes test/golden/trl_keys.json: names and defaults of TRL's GRPOConfig, ModelConfig and ScriptArguments, of which
docs/from-trl.md is made.

Run: python test/golden/make/trl_keys.py (packages: requirements.txt beside it)
"""

import dataclasses
import json
import pathlib

import trl
from trl import GRPOConfig, ModelConfig, ScriptArguments

OUT = pathlib.Path(__file__).resolve().parents[1]


def default_of(field: dataclasses.Field) -> object:
    """The default as JSON has it."""
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING:
        return None
    value = getattr(value, "value", value)  # of an enum
    return value if isinstance(value, (bool, int, float, str, list, dict, type(None))) else str(value)


def main(out: pathlib.Path = OUT) -> None:
    classes = {
        cls.__name__: {field.name: default_of(field) for field in dataclasses.fields(cls)}
        for cls in (GRPOConfig, ModelConfig, ScriptArguments)
    }
    written = {"versions": {"trl": trl.__version__}, "classes": classes}
    (out / "trl_keys.json").write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
