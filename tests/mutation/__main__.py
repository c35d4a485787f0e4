"""Core > **mutants** > tests: how many small changes of the core's code its tests notice.

`make mutation`, or `python -m tests.mutation [part …] --sample 40 --seed 0`, with Cosmic Ray's operators. Prints every
mutant that no test noticed, and a line for each part. The code itself stays as it is: mutants live in copies.
"""

import argparse
import ast
import contextlib
import difflib
import itertools
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import NamedTuple

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from .parts import PARTS, Part

ROOT = Path(__file__).parents[2]
COPIED = ("src", "conf", "tests", "pyproject.toml")
PATIENCE = 5  # times what the tests take unmutated, and then a minute
FORK = get_context("fork")  # of a process that has imported what is slow, and nothing of ours


class Mutant(NamedTuple):
    """One small change of one file."""

    path: str
    code: str

    def describe(self) -> str:
        """What is changed, as a diff without its surroundings."""
        before, after = (ROOT / self.path).read_text(encoding="utf-8").splitlines(), self.code.splitlines()
        lines = list(difflib.unified_diff(before, after, lineterm="", n=0))[2:]
        return "\n".join([f"{self.path}:{lines[0].split()[1][1:].split(',')[0]}", *lines[1:]])


def mutants_of(paths: tuple[str, ...], seed: int) -> Iterator[Mutant]:
    """The mutants of some files in a random order, but for those of annotations, which Python does not look at."""
    codes = {path: (ROOT / path).read_text(encoding="utf-8") for path in paths}
    nodes = {path: list(ast_nodes(get_ast(code))) for path, code in codes.items()}
    operators = [get_operator(name)() for name in operator_names() if not get_operator(name).arguments()]
    places = [
        (path, operator, occurrence)
        for path in paths
        for operator in operators
        for occurrence in range(sum(len(list(operator.mutation_positions(node))) for node in nodes[path]))
    ]
    random.Random(seed).shuffle(places)
    for path, operator, occurrence in places:
        code = mutate_code(codes[path], operator, occurrence)
        with contextlib.suppress(SyntaxError):  # "not" in the place of a minus
            if code is not None and _without_annotations(code) != _without_annotations(codes[path]):
                yield Mutant(path, code)


def _without_annotations(code: str) -> str:
    tree = ast.parse(code)
    for node in ast.walk(tree):
        for field in ("annotation", "returns"):
            if hasattr(node, field):
                setattr(node, field, None)
    return ast.dump(tree)


class Place:
    """A copy of the code in which one mutant after the other is tested."""

    def __init__(self, directory: Path, tests: tuple[str, ...]) -> None:
        self.directory, self.tests = directory, tests
        self.process: ForkProcess | None = None
        for name in COPIED:
            source, copy = ROOT / name, directory / name
            if source.is_dir():
                shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy)

    def begin(self, mutant: Mutant | None) -> None:
        """Starts the tests of a mutant, or of the code as it is."""
        self.mutant, self.begun = mutant, time.monotonic()
        if mutant:
            (self.directory / mutant.path).write_text(mutant.code, encoding="utf-8")
        self.process = FORK.Process(target=self._test)
        self.process.start()

    def _test(self) -> None:
        import pytest

        os.setsid()
        output = os.open("/dev/null" if self.mutant else self.directory / "output.txt", os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(self.directory)
        sys.path.insert(0, str(self.directory / "src"))
        sys.dont_write_bytecode = True  # two mutants may have one size and one second
        os.environ |= {"PYTHONPATH": str(self.directory / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # some of them are imported already
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *self.tests])
        os._exit(int(code))  # threads of a mutant may never end

    def result(self, seconds: float) -> bool | None:
        """Whether the tests have noticed, by failing or by taking longer than `seconds`; None while they run."""
        assert self.process is not None
        if self.process.is_alive() and time.monotonic() - self.begun < seconds:
            return None
        noticed = self.process.is_alive() or self.process.exitcode != 0
        assert self.process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)  # with all that the tests have started
        self.process.join()
        if self.mutant:
            shutil.copy(ROOT / self.mutant.path, self.directory / self.mutant.path)
        return noticed


def survivors_of(part: Part, mutants: list[Mutant], jobs: int) -> list[Mutant]:
    """The mutants that a part's tests do not notice."""
    with tempfile.TemporaryDirectory(prefix="leyden_mutants_") as name:
        places = [Place(Path(name, str(number)), part.tests) for number in range(jobs)]
        places[0].begin(None)
        while (noticed := places[0].result(600)) is None:
            time.sleep(0.05)
        if noticed:
            said = (places[0].directory / "output.txt").read_text(encoding="utf-8", errors="replace")
            sys.exit(f"the tests fail without a mutant: {' '.join(part.tests)}\n{said[-3000:]}")
        patience = 60 + PATIENCE * (time.monotonic() - places[0].begun)
        waiting, running, survivors = list(mutants), [], []
        free = list(places)
        while waiting or running:
            while waiting and free:
                place = free.pop()
                place.begin(waiting.pop(0))
                running.append(place)
            for place in list(running):
                if (noticed := place.result(patience)) is not None:
                    running.remove(place)
                    free.append(place)
                    if not noticed:
                        assert place.mutant is not None
                        survivors.append(place.mutant)
                        print(f"\nunnoticed: {place.mutant.describe()}", flush=True)
            time.sleep(0.05)
    return survivors


def main() -> None:
    """Tests mutants of each part."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)} (all)")
    parser.add_argument("--sample", type=int, default=40, help="how many mutants of each part (40; 0: all)")
    parser.add_argument("--seed", type=int, default=0, help="decides which (0)")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (2)")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}: give some of {', '.join(PARTS)}")
    import_what_is_slow()
    rows = []
    for name in options.parts or PARTS:
        part = PARTS[name]
        mutants = list(itertools.islice(mutants_of(part.paths, options.seed), options.sample or None))
        begun = time.monotonic()
        print(f"\n{name}: {len(mutants)} mutants", flush=True)
        noticed = len(mutants) - len(survivors_of(part, mutants, options.jobs))
        rows.append((name, len(mutants), noticed, time.monotonic() - begun))
    print("\n| part | mutants | noticed | share | seconds |\n| --- | --- | --- | --- | --- |")
    for name, tried, noticed, seconds in rows:
        print(f"| {name} | {tried} | {noticed} | {noticed / tried:.0%} | {seconds:.0f} |")


def import_what_is_slow() -> None:
    """Libraries that every test needs; a process that is forked has them already."""
    import hydra
    import pytest
    import pytorch_lightning
    import scipy.stats
    import statsmodels.stats.power
    import timm
    import torch

    torch.set_num_threads(1)
    del hydra, pytest, pytorch_lightning, scipy, statsmodels, timm


if __name__ == "__main__":
    main()
