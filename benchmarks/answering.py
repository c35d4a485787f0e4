"""After training: what `leyden predict` and `leyden serve` make of a network's speed, and how much memory they want."""

import contextlib
import http.client
import os
import re
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from benchmarks.image_files import NUM_WORKERS, jpegs
from benchmarks.measure import threads
from benchmarks.processes import ENVIRONMENT, LEYDEN, said_by, said_by_program
from leyden.hardware import keep_freed_memory
from leyden.predict.answers import Answering
from leyden.predict.command import write
from leyden.predict.inputs import find_inputs
from leyden.predict.options import Options
from leyden.trained import Trained, read_for

NUM_IMAGES = int(os.environ.get("BENCH_IMAGES", "10000"))  # a busy machine wants fewer
BATCH_SIZE, SERVED_BATCH, NUM_CLIENTS = 64, 32, 64
NUM_REQUESTS = max(NUM_IMAGES // 5, 4 * NUM_CLIENTS)
NUM_CORES = os.cpu_count() or 1
NUM_SMALL = 50_000  # images of the measure of memory

MEMORY_OF_ANSWERS = """
import itertools, sys
from pathlib import Path
import torch
from benchmarks.processes import held_by_all
from leyden.hardware import keep_freed_memory
from leyden.predict.answers import Answering
from leyden.predict.command import write
from leyden.predict.inputs import Inputs, walk
from leyden.predict.options import Options
from leyden.trained import Trained
if __name__ == "__main__":
    run, photos, output, number = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    seen = []
    def paths():
        for place, path in enumerate(itertools.islice(itertools.cycle(walk(photos)), number)):
            if place in (number // 10, number - 1):
                seen.append(held_by_all())
            yield path
    answering = Answering(Trained(run))
    keep_freed_memory()
    write(answering, Inputs("photos", paths()), Options(run, photos, num_workers=2), output)
    print("measured", *seen)
"""


@contextlib.contextmanager
def a_run(photos: Path, *words: str) -> Iterator[Path]:
    """The directory of a run that has hardly trained, on a few of the images."""
    with tempfile.TemporaryDirectory() as directory:
        command = [
            *LEYDEN, "train", "data=image_folder", f"data.root={photos}", "epochs=1",
            "batch_size=4", "data.labels_per_class=4", "data.validation_fraction=0.1", "data.cache=none", "logger=csv",
            "pictures=false", "trainer=cpu", f"hydra.run.dir={directory}/run", *words,
        ]  # fmt: skip
        said_by(*command)
        yield Path(directory, "run")


class Decoded(Dataset[Tensor]):
    """The data set that one writes for the purpose."""

    def __init__(self, directory: Path, network: Trained) -> None:
        self.paths, self.facts = sorted(directory.rglob("*.jpg")), network.facts

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        return read_for(self.facts, self.paths[index])


def predict_speeds() -> tuple[float, float]:
    """Images per second of a whole table, and of a DataLoader and the network alone, each over all files."""
    keep_freed_memory()
    with jpegs(40) as few, a_run(few, "backbone=lite0") as run, jpegs(NUM_IMAGES) as photos, threads(NUM_CORES):
        network = Trained(run)
        network.logits(torch.zeros(BATCH_SIZE, 3, network.facts.stored_size, network.facts.stored_size).byte())
        begin = time.perf_counter()
        for images in DataLoader(Decoded(photos, network), BATCH_SIZE, num_workers=NUM_WORKERS):
            network.logits(images)
        middle = time.perf_counter()
        asked = Options(run, str(photos), batch_size=BATCH_SIZE, num_workers=NUM_WORKERS)
        with contextlib.redirect_stdout(None):
            write(Answering(network), find_inputs(str(photos), "path", None), asked, run / "answers.csv")
        end = time.perf_counter()
    return NUM_IMAGES / (end - middle), NUM_IMAGES / (middle - begin)


def growth_of_predict() -> float:
    """MiB gained from a tenth of many small images to the last, workers included."""
    with jpegs(200, (96, 72)) as photos, a_run(photos, "backbone=mlp", "data.source.image_size=32") as run:
        answers = str(run / "answers.csv")
        said = said_by_program(MEMORY_OF_ANSWERS, str(run), str(photos), answers, str(NUM_SMALL))
    early, late = re.findall(r"measured (\S+) (\S+)", said)[0]
    return float(late) - float(early)


def serve_figures() -> tuple[float, float, float]:
    """Requests per second of 64 clients, the 99th percentile of their seconds, and images per second of the network.

    The bare network has its images in memory, in batches of the size that the server may make.
    """
    keep_freed_memory()
    with jpegs(64) as photos, a_run(photos, "backbone=lite0") as run, threads(NUM_CORES):
        network = Trained(run)
        images = torch.stack([read_for(network.facts, path) for path in sorted(photos.rglob("*.jpg"))[:SERVED_BATCH]])
        bare = bare_speed(network, images)
        contents = [path.read_bytes() for path in sorted(photos.rglob("*.jpg"))]
        with served(run) as port:
            ask(port, contents, NUM_CLIENTS)
            begin = time.perf_counter()
            seconds = ask(port, contents, NUM_REQUESTS)
            speed = NUM_REQUESTS / (time.perf_counter() - begin)
        bare = statistics.mean([bare, bare_speed(network, images)])
    return speed, statistics.quantiles(seconds, n=100)[98], bare


def bare_speed(network: Trained, images: Tensor) -> float:
    """Images per second of a network alone."""
    network.logits(images)
    begin, count = time.perf_counter(), max(NUM_REQUESTS // (2 * SERVED_BATCH), 2)
    for _ in range(count):
        network.logits(images)
    return count * SERVED_BATCH / (time.perf_counter() - begin)


@contextlib.contextmanager
def served(run: Path) -> Iterator[int]:
    """The port of `leyden serve`, a process of its own."""
    command = [*LEYDEN, "serve", f"run={run}", "port=0", f"max_batch={SERVED_BATCH}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT) as one:
        assert one.stdout is not None
        try:
            yield int(re.findall(r":(\d+)/", one.stdout.readline())[0])
        finally:
            one.send_signal(signal.SIGINT)
    assert one.returncode == 0


def ask(port: int, contents: list[bytes], num_requests: int) -> list[float]:
    """The seconds of each request of 64 clients that ask one after the other each; every one is answered."""
    numbers, seconds = iter(range(num_requests)), []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        for number in numbers:
            begin = time.perf_counter()
            connection.request("POST", "/predict", contents[number % len(contents)])
            response = connection.getresponse()
            response.read()
            assert response.status == 200
            seconds.append(time.perf_counter() - begin)

    threads = [threading.Thread(target=client) for _ in range(NUM_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seconds) == num_requests
    return seconds
