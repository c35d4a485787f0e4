"""`make bench`: prints the table and writes results.json beside this file.

Names as arguments choose lines; the others stay in the file as they were measured last.
"""

import json
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from benchmarks import augmentation, loops, networks, processes
from benchmarks.measure import Line, compare, in_turn, show
from benchmarks.networks import CNN, DIGITS, EXACT, MLP, MLP_B64, RESNET, SAVING, Case

RESULTS = Path(__file__).with_name("results.json")
Maker = Callable[[], Line]


def throughput() -> Iterator[tuple[str, Maker]]:
    """Steady speed through the Trainer, with W&B and CSV, against a bare loop of the same precision."""
    for case, target in ((RESNET, 0.98), (CNN, 0.97), (MLP, 0.97), (DIGITS, 0.60)):
        precision = chosen_precision(case)
        yield (
            f"throughput: {case.name}",
            partial(
                compare,
                measure=partial(
                    networks.speeds, case, partial(loops.elsewhere, partial(loops.bare_loop, precision=precision))
                ),
                unit="images/s",
                target=target,
                against=f"the same step in a bare loop, {precision}",
            ),
        )


def chosen_precision(case: Case) -> str:
    """What `precision=auto` chooses for a case."""
    with networks.built(case, "logger=csv") as (_, trainer, _):
        return str(trainer.precision)


def defaults() -> Iterator[tuple[str, Maker]]:
    """What a user gets without asking, in float32 and as `precision=auto` chooses."""
    for case, target in ((CNN, 1.4), (MLP_B64, 1.3)):
        for label, overrides in (("float32", ["trainer.precision=32"]), ("auto precision", [])):
            yield (
                f"defaults, {label}: {case.name}",
                partial(
                    compare,
                    measure=partial(networks.speeds, case, partial(loops.elsewhere, loops.tutorial_loop), *overrides),
                    unit="images/s",
                    target=target,
                    against="the loop that tutorials write",
                ),
            )


def exactness() -> Iterator[tuple[str, Maker]]:
    """What it costs that a run can be stopped anywhere."""
    without = partial(loops.run_elsewhere, loops.without_exactness, EXACT.overrides)
    yield (
        f"exactness: {EXACT.name}, crop + flip",
        partial(
            compare, measure=partial(networks.speeds, EXACT, without), unit="images/s", target=0.98,
            against="the same run, drawing from generators, without a look between steps",
        ),
    )  # fmt: skip
    saving = "callbacks.checkpoints.every_n_steps=100"
    yield (
        f"checkpoint every 100 steps: {SAVING.name}",
        partial(
            compare,
            measure=partial(networks.speeds, SAVING, partial(loops.run_elsewhere, loops.as_it_is, ()), saving),
            unit="images/s", target=0.97, against="the same run without",
        ),
    )  # fmt: skip


def template() -> Iterator[tuple[str, Maker]]:
    """Training with crop and flip against the usual template."""
    for case, target in ((CNN, 1.5), (MLP_B64, 8)):
        yield (
            f"crop + flip: {case.name}",
            partial(
                compare,
                measure=partial(crop_and_flip, case),
                unit="images/s",
                target=target,
                against="torchvision data set, per-sample transforms, DataLoader with 2 workers, self.log",
            ),
        )


def crop_and_flip(case: Case) -> tuple[float, float]:
    """Images per second of our run and of the usual template, one after the other."""
    return networks.speeds(case, loops.nothing, "augment=flip_crop")[0], loops.usual_template(case)


def augmenting() -> Iterator[tuple[str, Maker]]:
    """Augmentation alone."""
    for name, reference, target in (
        ("per-sample torchvision v2", augmentation.per_sample_torchvision, 20),
        ("kornia on the batch", augmentation.batched_kornia, 4),
    ):
        yield (
            f"augmentation: crop + flip against {name}",
            partial(
                compare,
                measure=partial(in_turn, augmentation.ours, reference),
                unit="images/s",
                target=target,
                against=name,
            ),
        )


def whole_processes() -> Iterator[tuple[str, Maker]]:
    """Start and memory."""
    imports = partial(processes.python_seconds, "import torch, pytorch_lightning")
    yield "start: command to first step, digits, mlp", partial(
        compare, measure=partial(in_turn, processes.seconds_to_first_step, imports), unit="s", target=1.25,
        at_most=True, against="python -c 'import torch, pytorch_lightning'",
    )  # fmt: skip
    hydra = partial(processes.python_seconds, "import hydra")
    yield "start: command to first step of a run that goes on", partial(
        compare, measure=processes.seconds_to_go_on_and_to_begin, unit="s", target=1.15, at_most=True,
        against="the same run from its start",
    )  # fmt: skip
    yield "start: leyden train --cfg job", partial(
        compare, measure=partial(in_turn, processes.config_seconds, hydra), unit="s", target=3, at_most=True,
        against="python -c 'import hydra'",
    )  # fmt: skip
    yield "memory: growth from epoch 5 to epoch 50", growth
    yield "memory: peak, Fashion-MNIST, MLP", peak


def growth(name: str) -> Line:
    """MiB gained, against none."""
    value = processes.memory_growth()
    return Line(name, value, 0.0, "MiB", value, 10, True, "no growth; the ratio is the difference")


def peak(name: str) -> Line:
    """MiB above imports and data."""
    ours, reference = processes.peak_of_training("fashion_mnist"), processes.peak_of_imports_and_data()
    return Line(
        name, ours, reference, "MiB", ours - reference, 250, True, "imports and data; the ratio is the difference"
    )


def main() -> int:
    """Measures the lines whose names hold one of the arguments, all without any; 1 when a target is missed."""
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    wanted = sys.argv[1:]
    print(f"{'':58} {'ours':>12} {'reference':>12} {'':9} {'ratio':>8}   target met")
    lines = []
    for group in (throughput, defaults, exactness, template, augmenting, whole_processes):
        for name, make in group():
            if not wanted or any(word in name for word in wanted):
                lines.append(make(name))  # type: ignore[call-arg]
                print(show(lines[-1]), flush=True)
    known = {record["name"]: record for record in json.loads(RESULTS.read_text())} if wanted else {}
    known |= {line.name: line.record() for line in lines}
    RESULTS.write_text(json.dumps(list(known.values()), indent=2, ensure_ascii=False) + "\n")
    return 0 if all(line.met for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
