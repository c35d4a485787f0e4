"""Results > **loss curves** > curves.json: what short runs of every kind learn, kept to the last bit.

`python -m benchmarks.curves` trains them again and says which differ: what a change of the code has changed in
training. `--write` keeps the new ones. Other processors round differently: curves.json says where it was made.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import machine
from benchmarks.processes import LEYDEN
from leyden.metric_names import read_numbers

KEPT = Path(__file__).with_name("curves.json")
RUNS = {
    **{f"optimizer={name}": "backbone=mlp" for name in ("sgd", "adagrad", "rmsprop", "adam", "adamw", "nadam", "lion")},
    "optimizer=muon": "backbone=cnn",
    **{
        f"augment={name}": "backbone=mlp"
        for name in ("flip_crop", "flips_turns", "affine", "standard", "trivial", "strong")
    },
    "loss=focal": "backbone=mlp",
    "loss.label_smoothing=0.1": "backbone=mlp",
    "backbone=cnn": "head.dropout=0.2",
    "backbone=resnet": "head=normed",
    "backbone=vit": "schedule=cosine",
    "backbone=wide_resnet": "seed=1",
}
LINE = ["train", "data=digits", "trainer=cpu", "trainer.precision=32", "logger=csv", "epochs=3", "data.batch_size=256"]
COLUMNS = ("train/loss", "val/loss")


def curves(*words: str) -> dict[str, list[float]]:
    """Losses per epoch of one run; JSON keeps every bit of them."""
    with tempfile.TemporaryDirectory() as directory:
        place = Path(directory, "run")
        command = [*LEYDEN, *LINE, *words, f"hydra.run.dir={place}"]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # sums of several threads round otherwise
        done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} failed: {done.stderr}")
        rows = read_numbers(place / "metrics.csv")
    return {column: [row[column] for row in rows if column in row] for column in COLUMNS}


def main() -> int:
    """Compares, or writes; 1 where a curve differs from the one that is kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.curves", description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep these curves from now on")
    is_writing = parser.parse_args().write
    found = {" ".join(words): curves(*words) for words in RUNS.items()}
    if is_writing:
        KEPT.write_text(json.dumps({"machine": machine(), "curves": found}, indent=1) + "\n", encoding="utf-8")
        print(f"{len(found)} runs are kept in {KEPT.name}")
        return 0
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    before = kept["curves"]
    changed = sorted(name for name in found.keys() | before.keys() if found.get(name) != before.get(name))
    print(f"{len(found) - len(changed)} of {len(found)} runs have the same losses to the last bit")
    for name in changed:
        print(f"  differs: {name}")
    if changed and kept["machine"] != machine():
        print(f"they were kept on {kept['machine']}; this is {machine()}")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
