"""`make bench`: prints the table and writes results.json beside this file.

Names as arguments choose lines; the others stay in the file as they were measured last.
"""

import json
import logging
import statistics
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks import (
    answering,
    augmentation,
    exports,
    image_files,
    loops,
    networks,
    processes,
    reports,
    shards,
    studies,
    transfer,
)
from benchmarks.measure import REPEATS, RESULTS, Line, compare, figure, in_turn, is_asked_for, show
from benchmarks.networks import CNN, DIGITS, EXACT, LOGGING, MLP, MLP_B64, QUIET, RESNET, SAVING, Case

NO_GROWTH = "no growth; the ratio is the difference"

Maker = Callable[[str], Line | Iterator[Line]]  # of the name that it has


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


def logging_costs() -> Iterator[tuple[str, Maker]]:
    """What is logged as often as by default: metrics every 50 steps, norms of layers every 100."""
    for label, words in {
        "metrics.csv": [QUIET],
        "metrics.csv, W&B offline": ["logger=wandb", "logger.mode=offline"],
    }.items():
        yield (
            f"logging: {label}, norms of layers",
            partial(
                compare,
                measure=partial(networks.speeds_with_and_without_logging, LOGGING, *words),
                unit="images/s",
                target=0.98,
                against=f"the same run's blocks of {LOGGING.block} steps that log nothing; {LOGGING.name}",
            ),
        )


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
                against="torchvision data set, per-sample transforms, DataLoader with 2 workers, self.log; float32",
            ),
        )


def crop_and_flip(case: Case) -> tuple[float, float]:
    """Images per second of our run and of the usual template in float32, one after the other."""
    ours, _ = networks.speeds(case, loops.nothing, "augment=flip_crop", "trainer.precision=32")
    return ours, loops.usual_template(case)


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


def reading() -> Iterator[tuple[str, Maker]]:
    """Data that lies in tar files."""
    yield "data: shards, 2 workers, JPEG 500 x 375 to 224", partial(
        compare, measure=shards.speeds, unit="images/s", target=0.85,
        against="two processes that read the tar files and decode alone",
    )  # fmt: skip


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
    yield "memory: growth from epoch 5 to epoch 50", partial(growth, processes.memory_growth, 10)
    yield "memory: peak, Fashion-MNIST, MLP", peak


def whole_studies() -> Iterator[tuple[str, Maker]]:
    """Many runs of one command."""
    for label, extra, target in (
        ("W&B and checkpoints", [], 0.5),
        ("csv only", studies.CSV_ONLY, 0.15),
    ):
        yield f"study: seconds beside training in each of 32 runs, {label}", partial(overhead, extra, target)
    yield "study: runs one after the other", partial(
        compare, measure=studies.runs_per_second_and_with_fresh_interpreters, unit="runs/s", target=5,
        against="a fresh interpreter for each run",
    )  # fmt: skip
    yield "study: runs two at a time", partial(
        compare, measure=studies.runs_per_second_of_two_and_one_at_a_time, unit="runs/s", target=1.7,
        against="one at a time",
    )  # fmt: skip
    yield "study: plan of 1,000 runs", thousand
    yield "memory: growth of a study from 10 to 200 runs", partial(growth, studies.growth_of_the_parent, 20)


def files() -> Iterator[tuple[str, Maker]]:
    """From image files to normalised batches."""
    timm = "PNG decode to colours and timm's transform in a DataLoader with 2 workers"
    for pixels, channels in {"grey, as they are": 1, "as colours": 3}.items():
        yield f"data: crop + flips of ELPV from the cache, {pixels}", partial(
            compare, measure=partial(image_files.from_the_cache, channels), unit="images/s", target=8, against=timm
        )  # fmt: skip
        yield f"data: first epoch of ELPV, the cache included, {pixels}", partial(
            compare, measure=partial(image_files.first_epoch, channels), unit="images/s", target=1.3, against=timm
        )  # fmt: skip
    yield "data: 10,000 JPEG of 500 x 375, uncached", partial(
        compare, measure=image_files.uncached_jpegs, unit="images/s", target=1.5,
        against="torchvision's ImageFolder and RandomResizedCrop in 2 workers",
    )  # fmt: skip
    yield "data: training tf_efficientnet_lite0 from the cache", partial(
        compare, measure=image_files.training_and_network_alone, unit="images/s", target=0.97,
        against="the network alone on one batch in memory",
    )  # fmt: skip
    yield "data: memory of 10,000 JPEG, uncached", partial(memory, image_files.memory_of_uncached_jpegs)
    yield "data: memory of a disk cache of 100,000", partial(memory, image_files.memory_of_the_disk_cache)


def memory(measure: Callable[[], tuple[float, float]], name: str) -> Iterator[Line]:
    """MiB at the highest above imports, and MiB gained over epochs."""
    peak, grown = measure()
    yield figure(f"{name}, peak", peak, "MiB", 500, "imports; the ratio is the difference")
    yield figure(f"{name}, growth", grown, "MiB", 10, NO_GROWTH)


def fine_tuning() -> Iterator[tuple[str, Maker]]:
    """A pretrained network: its steps, a probe on kept features, and memory."""
    yield f"transfer: {transfer.LITE0.name}", partial(
        compare, measure=step_of_fine_tuning, unit="images/s", target=0.97, against="the same step in a bare loop"
    )  # fmt: skip
    yield "transfer: depthwise layers of lite0 in float32", partial(
        compare, measure=transfer.speeds_of_depthwise_layers, unit="images/s", target=1.3,
        against="all layers in bfloat16",
    )  # fmt: skip
    yield f"transfer: {transfer.NUM_EPOCHS} epochs of a probe, features kept", probe
    yield "transfer: memory of steps", memory_of_ways


def step_of_fine_tuning() -> tuple[float, float]:
    """Images per second of our run and of a bare loop of the same precision."""
    case = transfer.LITE0
    bare = partial(loops.bare_loop, precision=chosen_precision(case))
    return networks.speeds(case, partial(loops.elsewhere, bare))


def probe(name: str) -> Line:
    """How many times as long a probe takes that runs the backbone in every epoch."""
    each_time, kept = transfer.probe_seconds()
    against = "the same probe with the backbone run each epoch, by time"
    return Line(name, kept, each_time, "s", each_time / kept, 10, False, against)


def memory_of_ways(name: str) -> Iterator[Line]:
    """MiB above imports of LoRA and of a probe without kept features, against a full fine-tune."""
    full = transfer.memory_of_steps()
    for way, overrides in (("lora", []), ("linear_probe", ["finetune.cache_features=false"])):
        ours = transfer.memory_of_steps(f"finetune={way}", *overrides)
        yield Line(f"{name}, {way}", ours, full, "MiB", ours / full, 1, True, "those of finetune=full")


def after_training() -> Iterator[tuple[str, Maker]]:
    """Many images, and many clients."""
    yield f"predict: {answering.NUM_IMAGES:,} JPEG of 500 x 375, lite0", partial(
        compare, measure=answering.predict_speeds, unit="images/s", target=0.95,
        against="a DataLoader with 2 workers and the network, no table",
    )  # fmt: skip
    yield f"predict: memory, from 5,000 to {answering.NUM_SMALL:,} images", partial(
        growth, answering.growth_of_predict, 10
    )  # fmt: skip
    yield f"serve: lite0, {answering.NUM_CLIENTS} clients", serving


def serving(name: str) -> Iterator[Line]:
    """Throughput against the bare network, and the slowest requests against those of a queue that it empties."""
    figures = [answering.serve_figures() for _ in range(REPEATS)]
    speeds, slowest, bare = (statistics.median(side) for side in zip(*figures, strict=True))
    against = "the network alone, on batches of 32 in memory"
    yield Line(f"{name}, throughput", speeds, bare, "images/s", speeds / bare, 0.8, False, against)
    ideal = answering.NUM_CLIENTS / bare
    against = "what 64 images take the network alone; no request failed"
    yield Line(f"{name}, p99", slowest, ideal, "s", slowest / ideal, 2, True, against)


def exported() -> Iterator[tuple[str, Maker]]:
    """A network written as ONNX, on one thread."""
    for network in exports.NETWORKS:
        for batch_size in (1, 32):
            yield f"export: ONNX Runtime, {network}, b{batch_size}", partial(
                compare, measure=partial(exports.speeds, network, batch_size), unit="images/s", target=1,
                against="PyTorch, eager, both with one thread in float32",
            )  # fmt: skip


def whole_reports() -> Iterator[tuple[str, Maker]]:
    """Reports of a usual and of a large study."""
    yield "report: 36 runs, beside imports", small_report
    yield f"report: {reports.num_runs():,} runs of 50 epochs", large_report


def small_report(name: str) -> Line:
    """Seconds."""
    seconds = statistics.median(reports.small_report() for _ in range(REPEATS))
    return figure(name, seconds, "s", 3)


def large_report(name: str) -> Iterator[Line]:
    """Seconds, MiB, MB and seconds in Chromium."""
    seconds, peak, size, shown = reports.large_report()
    yield figure(f"{name}, written", seconds, "s", 20)
    yield figure(f"{name}, peak memory", peak, "MiB", 1024)
    yield figure(f"{name}, size of the page", size, "MB", 12)
    if shown is not None:
        yield figure(f"{name}, shown in Chromium", shown, "s", 3)


def overhead(extra: list[str], target: float, name: str) -> Line:
    """Seconds from end to end of runs, less those of their training loops."""
    pairs = [studies.seconds_per_run_and_loop(extra) for _ in range(REPEATS)]
    ours, loop = min(pairs, key=lambda pair: abs(pair[0] - pair[1] - statistics.median(a - b for a, b in pairs)))
    return Line(name, ours, loop, "s", ours - loop, target, True, "their training loops; the ratio is the difference")


def thousand(name: str) -> Iterator[Line]:
    """Seconds and MiB of a plan; seconds of the command when all its runs are finished."""
    seconds, grown, again = studies.plan_of_a_thousand()
    yield figure(f"{name}, composed and checked", seconds, "s", 20)
    yield figure(f"{name}, memory", grown, "MiB", 200)
    yield figure(f"{name}, all finished", again, "s", 20)


def growth(measure: Callable[[], float], most: float, name: str) -> Line:
    """MiB gained, against none."""
    return figure(name, measure(), "MiB", most, NO_GROWTH)


def peak(name: str) -> Line:
    """MiB above imports and data."""
    ours, reference = processes.peak_of_training(), processes.peak_of_imports_and_data()
    return Line(
        name, ours, reference, "MiB", ours - reference, 250, True, "imports and data; the ratio is the difference"
    )


GROUPS: tuple[Callable[[], Iterable[tuple[str, Maker]]], ...] = (
    throughput, defaults, exactness, logging_costs, template, augmenting, files, reading, whole_processes,
    whole_studies, whole_reports, fine_tuning, after_training, exported,
)  # fmt: skip


def measure_lines(wanted: Sequence[str]) -> bool:
    """Measures the lines that these words ask for, all without any; whether no target is missed.

    Each stands in results.json as soon as it is measured; what a whole run has no more is gone at its end.
    """
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    print(f"{'':58} {'ours':>12} {'reference':>12} {'':9} {'ratio':>8}   target met")
    known = {record["name"]: record for record in json.loads(RESULTS.read_text(encoding="utf-8"))}
    measured: dict[str, dict[str, Any]] = {}
    for group in GROUPS:
        for name, make in group():
            if is_asked_for(name, wanted):
                made = make(name)
                for line in [made] if isinstance(made, Line) else made:
                    print(show(line), flush=True)
                    measured[line.name] = line.record()
                    keep(known | measured)
    if not measured:
        raise SystemExit(f"error: no line is called {' or '.join(wanted)}")
    if not wanted:
        keep(measured)
    return all(record["met"] for record in measured.values())


def keep(records: Mapping[str, dict[str, Any]]) -> None:
    """Writes results.json."""
    text = json.dumps(list(records.values()), indent=2, ensure_ascii=False) + "\n"
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(0 if measure_lines(sys.argv[1:]) else 1)
