"""TensorBoard's own reader on a run's events: every tag, and every number of metrics.jsonl at its step.

    pip install tensorboard==2.21.0
    python test/readers/tensorboard_tags.py outputs/quickstart/beta0.02_seed42_unified

For tensorboard_names plain. Exits with 1 where a number is missing or another, or a kind of tag is.
"""

import json
import pathlib
import sys

import numpy
import tensorboard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

EVERYTHING = {"scalars": 0, "tensors": 0, "images": 0, "histograms": 0}


def numbers(events):
    """Each scalar by tag and step, whichever way it is written; the last of a step counts."""
    found = {(tag, event.step): event.value for tag in events.Tags()["scalars"] for event in events.Scalars(tag)}
    for tag in events.Tags()["tensors"]:
        for event in events.Tensors(tag):
            value = tensor_util.make_ndarray(event.tensor_proto)
            if value.dtype.kind == "f" and value.ndim == 0:
                found[tag, event.step] = float(value)
    return found


def main(run: pathlib.Path) -> None:
    events = EventAccumulator(str(run / "runs"), EVERYTHING).Reload()
    found = numbers(events)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    wanted = {(name, row["step"]): value for row in rows for name, value in row.items() if name != "step"}
    different = [key for key, value in wanted.items() if not numpy.float32(value) == numpy.float32(found.get(key))]
    assert not different, f"of metrics.jsonl TensorBoard lacks, or has otherwise, {different[:5]}"
    of_kind = {kind: set(names) for kind, names in events.Tags().items() if isinstance(names, list)}
    for tag in of_kind.pop("tensors"):
        of_kind.setdefault(events.SummaryMetadata(tag).plugin_data.plugin_name, set()).add(tag)
    of_kind["scalars"] |= {tag for tag, _ in found}
    missing = [kind for kind in ("scalars", "histograms", "images", "text") if not of_kind.get(kind)]
    assert not missing, f"the run has no {', '.join(missing)}"
    print(f"tensorboard {tensorboard.__version__}: {len(wanted)} numbers of {len(rows)} rows, as in metrics.jsonl")
    for kind, names in sorted(of_kind.items()):
        if names:
            print(f"  {kind}, {len(names)}: {', '.join(sorted(names))}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
