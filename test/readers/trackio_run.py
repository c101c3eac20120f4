"""What trackio's own server shows of a run: every number of metrics.jsonl, once, the histograms, the settings.

    pip install trackio==0.43.0
    trackio show --host 127.0.0.1          # prints the address for TRACKIO_SERVER_URL, of the run and of this
    python test/readers/trackio_run.py outputs/quickstart/beta0.02_seed42_unified

Exits with 1 where a number is missing, there twice, or another, other than what the machine took for a step.
"""

import json
import os
import pathlib
import sys
import urllib.parse
import urllib.request


def ask(name, **arguments):
    place = urllib.parse.urlsplit(os.environ["TRACKIO_SERVER_URL"])
    request = urllib.request.Request(
        f"{place.scheme}://{place.netloc}/api/{name}",
        data=json.dumps(arguments).encode(),
        headers={"content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)["data"]


def is_timing(name):
    return name.startswith(("seconds/", "scorer/")) or name in ("step_time", "tokens_per_second")


def main(run: pathlib.Path) -> None:
    written = json.loads((run / "run_config.json").read_text())
    project = written["project"]
    run_id = json.loads((run / "trackio_run.json").read_text())["id"]
    (record,) = [record for record in ask("get_runs_for_project", project=project) if record["id"] == run_id]
    logs = ask("get_logs", project=project, run_id=run_id)

    shown, histograms = {}, 0
    for log in logs:
        for name, value in log.items():
            if isinstance(value, dict):
                assert value["_type"] == "trackio.histogram" and len(value["bins"]) == len(value["values"]) + 1, name
                histograms += 1
            elif name not in ("step", "timestamp"):
                assert (name, log["step"]) not in shown, f"{name} of step {log['step']} is there twice"
                shown[name, log["step"]] = value
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    wanted = {(name, row["step"]): value for row in rows for name, value in row.items() if name != "step"}
    # Of a step that a killed run makes again trackio keeps what it had: all the same, but for what the machine took.
    missing = wanted.keys() - shown.keys()
    different = [key for key in wanted.keys() & shown.keys() if shown[key] != wanted[key] and not is_timing(key[0])]
    assert not missing and not different, f"metrics.jsonl has besides {sorted(missing)}, otherwise {sorted(different)}"
    others = [name for name, _ in shown.keys() - wanted.keys() if not is_timing(name)]
    assert not others, f"metrics.jsonl has no {sorted(others)}"
    config = ask("get_run_configs", project=project)[run_id]
    different = [name for name in written if config[name] not in (written[name], None)]
    assert not different, f"settings as in run_config.json, but for {', '.join(different)}"
    print(
        f"trackio shows {record['name']} in {project}: {len(wanted)} numbers of {len(rows)} rows, as in metrics.jsonl, "
        f"each once; {histograms} histograms; {len(written)} settings"
    )


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
