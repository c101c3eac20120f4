"""Writes test/golden/tensorboard_events.json: the bytes that the real TensorBoard package writes for six events.

Run: python test/golden/make/tensorboard_events.py (packages: requirements.txt beside it)
"""

import io
import json
import pathlib

import tensorboard
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.histogram_pb2 import HistogramProto
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.record_writer import RecordWriter

OUT = pathlib.Path(__file__).resolve().parents[1]
WALL_TIME = 1700000000.25


def histogram() -> HistogramProto:
    # The values 1, 1, 3, 5 in two buckets between 1 and 5; 3 is the second one's left edge.
    return HistogramProto(min=1, max=5, num=4, sum=10, sum_squares=36, bucket_limit=[3, 5], bucket=[2, 2])


def image() -> Summary.Value:
    picture = Summary.Image(height=3, width=5, colorspace=3, encoded_image_string=bytes([0x89, 0x50, 0x4E, 0x47, 0]))
    return Summary.Value(tag="scatter/reward_vs_cost", image=picture)


def text(markdown: str) -> Summary.Value:
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="text"))
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=[markdown.encode()])
    return Summary.Value(tag="debug/train_batch_samples", tensor=tensor, metadata=metadata)


def framed(**content) -> str:
    target = io.BytesIO()
    RecordWriter(target).write(Event(wall_time=WALL_TIME, **content).SerializeToString())
    return target.getvalue().hex()


def main(out: pathlib.Path = OUT) -> None:
    scalars = [Summary.Value(tag="reward", simple_value=1.5), Summary.Value(tag="lambda/value", simple_value=-0.25)]
    golden = {
        "versions": {"tensorboard": tensorboard.__version__},
        "fileVersion": framed(file_version="brain.Event:2"),
        "sessionStart": framed(step=7, session_log=SessionLog(status=SessionLog.START)),
        "scalars": framed(step=300, summary=Summary(value=scalars)),
        "histogram": framed(step=25, summary=Summary(value=[Summary.Value(tag="cost/dist", histo=histogram())])),
        "image": framed(step=25, summary=Summary(value=[image()])),
        "text": framed(step=3, summary=Summary(value=[text("| é | b |")])),
    }
    (out / "tensorboard_events.json").write_text(json.dumps(golden, indent=2) + "\n")


if __name__ == "__main__":
    main()
