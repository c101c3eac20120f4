"""Reads an evaluation's files as the reference's classifier writes them, and draws its scatter plot from them.

    pip install numpy==2.4.6 matplotlib==3.11.2
    python test/readers/eval_files.py outputs/quickstart/beta0.02_seed42_unified/eval NAME scatter.png

NAME stands before _summary.json. Everything that the summary says of the points is computed anew from the arrays, and
the arrays are held against the points. Exits with 1 where they differ.
"""

import json
import pathlib
import sys

import matplotlib
import numpy

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

QUADRANTS = ("SH", "SU", "UH", "UU")
# What the reference's summary has, whatever else ours says.
SUMMARY_KEYS = (
    "counts percents safe_ratio R_mean R_std C_mean C_std num_points used_policy_model used_vllm policy_vllm_ckpt "
    "dataset_split reward_model cost_model"
).split()


def check_summary(summary, rewards, costs, labels):
    missing = [key for key in SUMMARY_KEYS if key not in summary]
    assert not missing, f"the summary has no {', '.join(missing)}"
    counts = {name: int((labels == name).sum()) for name in QUADRANTS}
    percents = {name: 100 * counts[name] / len(labels) for name in QUADRANTS}
    assert summary["counts"] == counts and summary["num_points"] == len(labels)
    ours = [summary["percents"][name] for name in QUADRANTS]
    numpy.testing.assert_allclose(ours, list(percents.values()), rtol=1e-12)
    wanted = {
        "safe_ratio": percents["SH"] + percents["SU"],
        "R_mean": rewards.mean(),
        "R_std": rewards.std(),
        "C_mean": costs.mean(),
        "C_std": costs.std(),
    }
    for name, value in wanted.items():
        numpy.testing.assert_allclose(summary[name], value, rtol=1e-12, err_msg=name)  # sums in another order
    return percents


def draw(path, tag, rewards, costs):
    figure = plt.figure(figsize=(4, 4), dpi=150)
    plt.scatter(costs, rewards, s=6, alpha=0.35)
    plt.axvline(0, color="red", linestyle="--", linewidth=1)
    plt.axhline(0, color="gray", linestyle=":", linewidth=0.8)
    plt.xlabel("cost")
    plt.ylabel("reward")
    plt.title(tag)
    plt.tight_layout()
    figure.savefig(path)


def main(folder: pathlib.Path, tag: str, picture: pathlib.Path) -> None:
    rewards, costs, labels = (numpy.load(folder / f"{tag}_{name}.npy") for name in ("Rs", "Cs", "labels"))
    points = [json.loads(line) for line in (folder / f"{tag}_points.jsonl").read_text().splitlines()]
    summary = json.loads((folder / f"{tag}_summary.json").read_text())

    assert rewards.dtype == costs.dtype == numpy.float64 and labels.dtype.kind == "U"
    assert [point["reward"] for point in points] == rewards.tolist()
    assert [point["cost"] for point in points] == costs.tolist()
    assert [point["label"] for point in points] == labels.tolist()
    assert all(isinstance(point[key], str) for point in points for key in ("prompt", "response"))
    of_scores = numpy.char.add(numpy.where(costs <= 0, "S", "U"), numpy.where(rewards > 0, "H", "U"))
    assert (labels == of_scores).all(), "safe is C <= 0, helpful is R > 0"
    percents = check_summary(summary, rewards, costs, labels)
    draw(picture, tag, rewards, costs)
    shares = ", ".join(f"{name} {percents[name]:.1f} %" for name in QUADRANTS)
    print(f"{tag}: {len(points)} points, {shares}; R {rewards.mean():.3f}, C {costs.mean():.3f}; drawn in {picture}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3]))
