"""What each dependency costs at import and on disk: `python -m benchmarks.dependencies`, with all extras installed.

With --write its table goes into docs/dependencies.md.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date
from difflib import SequenceMatcher
from importlib.metadata import Distribution, PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from benchmarks.measure import REPEATS, machine
from benchmarks.processes import MEBIBYTE

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "dependencies.md"
FOR_WORK_ON_LEYDEN = ("test", "bench", "mutation")  # extras that want what others do, and tools of their own


def requirements() -> dict[str, list[str]]:
    """Each distribution that pyproject.toml names, with the extras that want it; none stands for every run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    every_run = [name_of(word) for word in project["dependencies"]]
    wanted: dict[str, list[str]] = defaultdict(list)
    for extra, words in project["optional-dependencies"].items():
        for name in map(name_of, words):
            wanted[name].append(extra)
    for name, extras in wanted.items():
        wanted[name] = [extra for extra in extras if extra not in FOR_WORK_ON_LEYDEN] or extras[:1]
    return {name: [] for name in every_run} | {name: wanted[name] for name in wanted if name not in every_run}


def name_of(requirement: str) -> str:
    """`pytorch-lightning` of `pytorch-lightning>=2.6,<3`."""
    return canonicalize_name(Requirement(requirement).name)


def installed(name: str) -> Distribution | None:
    """A distribution of this environment."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def needs(names: Iterable[str]) -> set[str]:
    """These distributions and all that they need here, in turn."""
    found: set[tuple[str, str]] = set()  # with an extra each, or none
    waiting: list[tuple[str, str]] = [(name, "") for name in names]
    while waiting:
        name, extra = waiting.pop()
        there = installed(name)
        if (name, extra) in found or there is None:
            continue
        found.add((name, extra))
        for requirement in map(Requirement, there.requires or ()):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                waiting += [(canonicalize_name(requirement.name), wanted) for wanted in ("", *requirement.extras)]
    return {name for name, _ in found}


def mebibytes(names: Iterable[str]) -> float:
    """The size of the files that pip has written for some distributions."""
    files = [file.locate() for name in names for file in (distribution(name).files or ())]
    return sum(path.stat().st_size for path in map(Path, map(str, files)) if path.is_file()) / MEBIBYTE


def freed(name: str, extras: Iterable[str], every_run: Iterable[str]) -> float:
    """MiB that would not be there without a distribution: its own, and of those that nothing else needs."""
    base = {*every_run}
    if extras:
        return mebibytes(needs([name]) - needs(base))
    return mebibytes(needs(base) - needs(base - {name}))


def modules() -> dict[str, list[str]]:
    """The modules of each distribution, the one first that is called most as it is."""
    found: dict[str, list[str]] = defaultdict(list)
    for module, names in packages_distributions().items():
        for name in {str(canonicalize_name(name)) for name in names}:
            if re.fullmatch(r"[A-Za-z]\w*", module):
                found[name].append(module)
    for name, own in found.items():
        likeness = {module: SequenceMatcher(None, module.lower(), name.replace("-", "_")).ratio() for module in own}
        own.sort(key=likeness.__getitem__, reverse=True)
    return found


IMPORT_EACH = """
import importlib, os, sys, time
for module in sys.argv[1:]:
    if os.fork() == 0:
        importlib.import_module(module)
        print(module, time.process_time(), file=sys.stderr)
        os._exit(0)
    os.wait()
"""


def import_seconds(modules: Sequence[str]) -> dict[str, float]:
    """Processor seconds of importing each module beside torch, and of torch by itself; the median of three."""
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(REPEATS):
        for code, names in ((IMPORT_EACH, ["torch"]), ("import torch" + IMPORT_EACH, modules)):
            command = [sys.executable, "-c", code, *names]
            said = subprocess.run(
                command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            ).stderr
            for module in names:
                measured = re.search(rf"^{module} ([\d.]+)$", said, re.MULTILINE)
                assert measured is not None, said
                found[module].append(float(measured[1]))
    return {module: statistics.median(seconds) for module, seconds in found.items()}


def seconds_in_training() -> dict[str, float]:
    """Seconds that `leyden train` spends in the imports of each module's package, those that it imports not counted."""
    seconds: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-X", "importtime", "-m", "leyden", "train", "epochs=1"]
        done = subprocess.run(
            command, cwd=directory, env=os.environ | {"WANDB_MODE": "offline"}, stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL, text=True, check=True,
        )  # fmt: skip
    for own, module in re.findall(r"^import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)$", done.stderr, re.MULTILINE):
        seconds[module.partition(".")[0]] += int(own) / 1e6
    return seconds


def table() -> str:
    """A row for each distribution, by extras and then by the alphabet."""
    wanted = requirements()
    missing = [name for name in wanted if installed(name) is None]
    if missing:
        raise SystemExit(f"error: not installed here: {', '.join(missing)}")
    every_run = [name for name, extras in wanted.items() if not extras]
    own, runs = modules(), [seconds_in_training() for _ in range(REPEATS)]
    # No command waits for the tools of those who work on Leyden.
    waited_for = [name for name, extras in wanted.items() if not set(extras) & set(FOR_WORK_ON_LEYDEN)]
    alone = import_seconds([own[name][0] for name in waited_for if name != "torch"])
    lines = [
        "| package | wanted by | import | in `leyden train` | on disk | with what only it needs |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, extras in sorted(wanted.items(), key=lambda item: (item[1], item[0])):
        imported = f"{alone[own[name][0]]:.2f} s" if name in waited_for else "–"
        trained = statistics.median(sum(run.get(module, 0.0) for module in own.get(name, ())) for run in runs)
        in_training = f"{trained:.3f} s" if trained else "–"
        sizes = [f"{size:,.1f} MiB" if size else "–" for size in (mebibytes([name]), freed(name, extras, every_run))]
        lines.append(f"| {' | '.join([name, ', '.join(extras) or 'every run', imported, in_training, *sizes])} |")
    whole = statistics.median(sum(run.values()) for run in runs)
    size = mebibytes(needs(every_run))
    lines.append(f"| what every run needs, in all | | | {whole:.3f} s | {size:,.1f} MiB | |")
    return "\n".join(lines)


def with_table(page: str, made: str) -> str:
    """The page with another table between its marks."""
    mark = "<!-- measured -->"
    return re.sub(f"{mark}.*{mark}", lambda _: f"{mark}\n{made}\n{mark}", page, flags=re.DOTALL)


def main() -> None:
    """Measures, prints and, with --write, keeps."""
    command = "python -m benchmarks.dependencies --write"
    made = f"`{command}`, {date.today()}, {machine()}; medians of {REPEATS}.\n\n{table()}"
    print(made)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), made), encoding="utf-8")


if __name__ == "__main__":
    main()
