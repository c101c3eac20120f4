"""W&B's own reader on a run's record file: rows, tables, scatter plots, histograms, config, summary, system metrics.

    pip install wandb==0.21.4
    python test/readers/wandb_file.py outputs/quickstart/beta0.02_seed42_unified

0.21.4 is the last whose datastore reads these files in Python. Exits with 1 where the history is not that of
metrics.jsonl, number by number, or a part is missing.
"""

import json
import pathlib
import sys

import wandb
from wandb.proto import wandb_internal_pb2 as pb
from wandb.sdk.internal.datastore import DataStore

# Names that W&B shows as they are; all others stand under train/, as transformers has them.
BARE = ("helpfulness/", "cost/", "combined/", "safety/", "lambda/", "eval/", "debug/")
TABLES = ("debug/train_batch_samples", "eval/samples")
SCATTERS = ("scatter/reward_vs_cost", "scatter/eval_reward_vs_cost")
HISTOGRAMS = ("helpfulness/dist", "cost/dist")


def records(path):
    store = DataStore()
    store.open_for_scan(str(path))
    while (data := store.scan_data()) is not None:
        record = pb.Record()
        record.ParseFromString(data)
        yield record


def values(items):
    """An item's name is its key, or the parts of its nested key."""
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def logged_rows(run):
    """What metrics.jsonl has of each step, under W&B's names."""
    rows = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        row = json.loads(line)
        named = {name if name.startswith(BARE) else f"train/{name}": row[name] for name in row if name != "step"}
        rows.setdefault(row["step"], {}).update(named)
    return rows


def check_history(history, rows):
    assert [row["_step"] for row in history] == list(rows), "the steps of the history are those of metrics.jsonl"
    for row in history:
        wanted = rows[row["_step"]]
        assert {name: row.get(name) for name in wanted} == wanted, f"step {row['_step']}"


def check_media(files, history):
    """Every table that a row names is there as it says. @returns how many of each name"""
    counts = {}
    for row in history:
        for name, value in row.items():
            kind = value.get("_type") if isinstance(value, dict) else None
            if kind == "table-file":
                table = json.loads((files / value["path"]).read_text())
                assert len(table["data"]) == value["nrows"] and len(table["columns"]) == value["ncols"], name
            elif kind == "histogram":
                assert len(value["bins"]) == len(value["values"]) + 1, name
            if kind:
                counts[name] = counts.get(name, 0) + 1
    return counts


def main(run: pathlib.Path) -> None:
    folder = run / json.loads((run / "wandb_run.json").read_text())["folder"]
    (path,) = folder.glob("run-*.wandb")
    of_kind = {}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        of_kind.setdefault(kind, []).append(getattr(record, kind))

    history = [values(record.item) for record in of_kind["history"]]
    rows = logged_rows(run)
    check_history(history, rows)
    counts = check_media(folder / "files", history)
    missing = [name for name in (*TABLES, *HISTOGRAMS, *(f"{key}_table" for key in SCATTERS)) if name not in counts]
    assert not missing, f"the run has no {', '.join(missing)}"
    # What a run is told anew at each start replaces what stood before.
    config = {}
    for record in of_kind["run"]:
        config |= values(record.config.update)
    panels = {key for record in of_kind["config"] for item in record.update for key in item.nested_key}
    assert panels.issuperset(SCATTERS), "a panel for each scatter plot"
    written = json.loads((run / "run_config.json").read_text())
    # eos_token_ids is null as it was given; run_config.json has those that the model's files name.
    different = [name for name in written if config[name] not in (written[name], None)]
    assert not different, f"settings as in run_config.json, but for {', '.join(different)}"
    summary = {}
    for record in of_kind["summary"]:
        summary |= values(record.update)
    assert summary["_step"] == max(rows)
    system = [values(record.item) for record in of_kind.get("stats", [])]
    exits = [record.exit_code for record in of_kind["exit"]]
    assert exits == [0], f"the run has ended with {exits}"

    print(f"wandb {wandb.__version__} reads {path.name}: {len(history)} rows, the steps and numbers of metrics.jsonl")
    for name, count in counts.items():
        print(f"  {name}: {count}")
    print(f"  config: {len(config)} keys; summary: {len(summary)}; panels: {', '.join(SCATTERS)}")
    print(f"  system metrics: {len(system)} rows of {', '.join(sorted(set().union(*system))) if system else 'none'}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
