"""Writes test/golden/parquet_rows/: the same rows in Parquet files of every compression that pyarrow has.

rows.json: the rows as they are to be read. Two row groups each; columns of text, whole numbers of 64 bits, lists of
messages, nulls, dates and bytes.

Run: python test/golden/make/parquet_rows.py (packages: requirements.txt beside it, and pyarrow, which datasets brings)
"""

import base64
import datetime
import json
import pathlib
import shutil

import pyarrow
import pyarrow.parquet

OUT = pathlib.Path(__file__).resolve().parents[1]
COMPRESSIONS = ["none", "snappy", "gzip", "brotli", "zstd", "lz4"]
ROWS = 6


def make_rows() -> list[dict]:
    return [
        {
            "prompt": f"Prompt {i}: caf\u00e9 \U0001f600" + " again" * i,
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Why {i}?"}],
            "is_safe": i % 2 == 0,
            "count": 2**53 + i if i == 3 else i,
            "score": i / 4,
            "note": None if i % 3 else f"note {i}",
            "day": datetime.datetime(2024, 1, 1 + i, 12, tzinfo=datetime.timezone.utc),
            "image": bytes([i, 255, 0]),
        }
        for i in range(ROWS)
    ]


def as_json(value):
    if isinstance(value, datetime.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, int) and abs(value) >= 2**53:
        return str(value)
    return value


def main(out: pathlib.Path) -> None:
    folder = out / "parquet_rows"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = make_rows()
    table = pyarrow.Table.from_pylist(rows)
    for compression in COMPRESSIONS:
        path = folder / f"{compression}.parquet"
        pyarrow.parquet.write_table(table, path, compression=compression, row_group_size=ROWS // 2 + 1)
    plain = [{key: as_json(value) for key, value in row.items()} for row in rows]
    (folder / "rows.json").write_text(json.dumps(plain, indent=1) + "\n")


if __name__ == "__main__":
    main(OUT)
