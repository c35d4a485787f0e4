"""Options > **export** > parity: writes beside its place, compares, and only then gives the name."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from leyden.card.write import card_of
from leyden.export.directories import CARD, CONFIG, WEIGHTS, write_huggingface, write_safetensors
from leyden.export.graphs import require, trace, write_onnx, write_torch_export
from leyden.export.images import RealImages, real_images
from leyden.export.opened import open_export
from leyden.export.options import Options
from leyden.export.parity import TOLERANCE, check, expected_answers
from leyden.export.quantized import cost, in_words, write_quantized
from leyden.export.whole import describe, whole_network
from leyden.loggers.lineage import Made, add, logger_of
from leyden.run import is_writable
from leyden.trained import Trained, open_network, probabilities_of

NAMES = {
    "onnx": "model.onnx", "torch_export": "model.pt2", "safetensors": "safetensors", "huggingface": "huggingface",
}  # fmt: skip
SMALL = ".int8.onnx"  # in place of .onnx: with weights of 8 bits


def export(asked: Options, words: list[str]) -> None:
    """`leyden export run=…`: the network as a file or a directory that answers as it does.

    Raises:
        ValueError: the run has no network, the format cannot hold it, or what was written answers otherwise.
    """
    if asked.quantize and asked.format != "onnx":
        raise ValueError(f"quantize=true is for format=onnx, not for {asked.format}: leave it out")
    if asked.format == "onnx":
        require("onnx", "onnxscript", "onnxruntime")  # before anything is read
    network = open_network(asked.run, asked.checkpoint, accelerator="cpu")
    if not isinstance(network, Trained):
        raise ValueError(f"run={asked.run} is an export already: give the run that it was made from")
    output = asked.output or _place(network) / NAMES[asked.format]
    check_output(output, asked.format)
    real = real_images(network)
    with _beside(output) as written:
        write(network, asked.format, written)
        whole = open_export(written)
        difference = check(network, whole, real.images)
        compared = f"{len(real.images)} {real.words}"
        print(f"parity          {compared}: differences of up to {difference:.2g} ({TOLERANCE:g} is allowed)")
        if note := _of_precision(network, real):
            print(note)
        if asked.quantize:
            small = output.with_suffix(SMALL)
            with _beside(small) as smaller:
                write_quantized(written, smaller)
                told = cost(whole, open_export(smaller), real)
            print(f"8 bits          {in_words(told, real.words, len(real.images))}")
            print(f"                {small}, {size_of(small)}")
    print(f"written         {output}, {size_of(output)}")
    files = files_of(output, asked.format, asked.quantize)
    made = Made("export", "model", asked.format, files, {"format": asked.format, "checkpoint": network.path.stem})
    if place := add(network.record, network.path, logger_of(network.config).artifacts, made):
        print(f"at W&B          {place}")


def files_of(output: Path, format: str, quantize: bool) -> dict[str, Path]:
    """What was written, by the names that it has where `output` gives no other; of a directory all that is in it."""
    name = NAMES[format]
    if not Path(name).suffix:
        return {"": output}
    small = {Path(name).with_suffix(SMALL).name: output.with_suffix(SMALL)} if quantize else {}
    return {name: output} | small


def check_output(output: Path, format: str) -> None:
    """Refuses a name that the format cannot have, and one that something else has.

    Raises:
        ValueError: says which it is, and what to give.
    """
    suffix = Path(NAMES[format]).suffix
    if suffix and output.suffix != suffix:
        raise ValueError(f"output={output}: expected a name that ends in {suffix}")
    if output.is_file() and not suffix:
        raise ValueError(f"output={output} is a file, and {format} is a directory: give another name")
    if output.is_dir():
        names = {path.name for path in output.iterdir()}
        if names and (suffix or not {CONFIG, WEIGHTS} <= names <= {CONFIG, WEIGHTS, CARD}):
            raise ValueError(f"output={output} is a directory that holds something else: give another name")


def write(network: Trained, format: str, path: Path) -> None:
    """Writes a network in a format, with what it is of and its card inside."""
    told, card = describe(network), card_of(network, format)
    if format == "safetensors":
        write_safetensors(network, path, told, card)
    elif format == "huggingface":
        write_huggingface(network, path, told, card)
    else:
        program = trace(whole_network(network), network.facts.channels, network.facts.stored_size)
        (write_onnx if format == "onnx" else write_torch_export)(program, path, told, card)


def _place(network: Trained) -> Path:
    """`export` in the run's directory, or here where that is a file, or may not be written."""
    directory = network.directory
    return (directory if is_writable(directory) else Path()) / "export"


@contextlib.contextmanager
def _beside(output: Path) -> Iterator[Path]:
    """A place beside `output`, by the same name, that takes its name at the end; of what fails nothing stays.

    Raises:
        ValueError: nothing can be written there.
    """
    beside = output.parent / f".{output.name}.{os.getpid()}"
    try:
        beside.mkdir(parents=True)
    except OSError as error:
        raise ValueError(f"output={output} cannot be written ({error.strerror}): give another place") from error
    try:
        yield beside / output.name
        if output.is_dir():
            output.replace(beside / f"{output.name} before")
        (beside / output.name).replace(output)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _of_precision(network: Trained, real: RealImages) -> str | None:
    """How far the answers in half precision, which a run was tested in, are from those of its export."""
    precision = str(network.run["precision"])
    if precision == "16-mixed":
        return "precision       single; the run was tested in 16-mixed, which no CPU has to compare with"
    if precision != "bf16-mixed":
        return None
    task = network.facts.task
    tested, exact = network.logits(real.images), expected_answers(network, real.images)
    difference = float((probabilities_of(tested, task) - probabilities_of(exact, task)).abs().max())
    return (
        "precision       single; the run was tested in bf16-mixed, with answers that differ from these by up to "
        f"{difference:.2g}"
    )


def size_of(path: Path) -> str:
    """How large a file is, or a directory of files, in words."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    size = sum(file.stat().st_size for file in files)
    return f"{size / 2**20:,.1f} MiB" if size >= 2**20 else f"{size / 2**10:,.1f} KiB"
