"""Writes run.json beside it: the record file that W&B's own client writes for a few records.

Run: python test/unit/wandb_client/make.py, where wandb==0.21.4 is installed, whose record files Python still writes. It
does not go with the protobuf that test/golden/make/requirements.txt pins: give it an environment of its own.
"""

import base64
import gzip
import json
import pathlib
import tempfile

import wandb
from wandb.proto import wandb_internal_pb2 as pb
from wandb.sdk.internal.datastore import DataStore

OUT = pathlib.Path(__file__).resolve().parent
START = 1700000000


def items(add, values: dict[str, str]) -> None:
    for key, value_json in values.items():
        item = add()
        item.key = key
        item.value_json = value_json


def records() -> list[pb.Record]:
    header = pb.Record(header=pb.HeaderRecord(version_info=pb.VersionInfo(producer="0.21.4", min_consumer="0.12.0")))
    run = pb.RunRecord(
        run_id="1a2b3c4d",
        project="grpo_alignment",
        run_group="outputs",
        display_name="grpo_align_beta0.1_seed3_unified_n250",
        tags=["one", "zwei"],
        host="a-host",
    )
    items(run.config.update.add, {"_wandb": '{"t":{}}', "beta": "0.1", "run_name": "null"})
    run.start_time.seconds = START
    run.start_time.nanos = 250_000_000
    config = pb.ConfigRecord()
    update = config.update.add()
    update.nested_key.extend(["_wandb", "visualize", "scatter/reward_vs_cost"])
    update.value_json = '{"panel_type":"Vega2"}'
    history = pb.HistoryRecord()
    items(history.item.add, {"train/loss": "NaN", "text": json.dumps("x" * 40_000), "_step": "7"})
    history.step.num = 7
    summary = pb.SummaryRecord()
    items(summary.update.add, {"train/loss": "Infinity"})
    files = pb.FilesRecord()
    files.files.add().path = "media/table/eval/samples_7_00.table.json"
    stats = pb.StatsRecord()
    stats.timestamp.seconds = START + 15
    items(stats.item.add, {"system.cpu": "12.5"})
    contents = [header, *[pb.Record(**content) for content in (
        {"run": run}, {"config": config}, {"history": history}, {"summary": summary}, {"files": files},
        {"stats": stats}, {"exit": pb.RunExitRecord(exit_code=1, runtime=75)},
    )]]
    for number, record in enumerate(contents, 1):
        record.num = number
    return contents


def main(out: pathlib.Path = OUT) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "run.wandb"
        store = DataStore()
        store.open_for_write(str(path))
        for record in records():
            store.write(record)
        store.close()
        packed = gzip.compress(path.read_bytes(), mtime=0)
    golden = {"versions": {"wandb": wandb.__version__}, "gzip": base64.b64encode(packed).decode()}
    (out / "run.json").write_text(json.dumps(golden, indent=2) + "\n")


if __name__ == "__main__":
    main()
