"""Sources: real images, the facts that are announced before reading, and what a damaged file gets."""

import functools
import gzip
import hashlib
import http.server
import pickle
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from leyden.data import CIFAR10, CIFAR100, MNIST, Digits, FashionMNIST, Files, Images, Source
from leyden.data.idx import DEBIAN_FASHION_MNIST
from leyden.data.sources import TEST, TRAINING
from leyden.data.splits import split

needs_fashion_mnist = pytest.mark.skipif(
    not DEBIAN_FASHION_MNIST.is_dir(), reason="needs Fashion-MNIST: apt-get install dataset-fashion-mnist"
)


def facts_hold(source: Source, loaded: Images) -> None:
    """Classes, shape, mean and deviation of the training part are what the source announces."""
    images, labels = loaded.images, loaded.labels
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert images.shape == (len(labels), source.channels, source.image_size, source.image_size)
    assert labels.unique().tolist() == list(range(len(source.class_names)))
    train = images if loaded.parts is None else images[loaded.parts == TRAINING]
    train = train.double() / 255
    for ours, pixels in [(source.mean, train.mean((0, 2, 3))), (source.std, train.std((0, 2, 3)))]:
        assert torch.tensor(ours).sub(pixels).abs().max() < 1e-3


def num_train_of(loaded: Images) -> int:
    """The number of training images, which come first; all others are for the test."""
    assert loaded.parts is not None
    num_train = int((loaded.parts == TRAINING).sum())
    assert loaded.parts.tolist() == [TRAINING] * num_train + [TEST] * (len(loaded.parts) - num_train)
    return num_train


def test_digits_are_scikit_learns() -> None:
    loaded = Digits().load(Path("unused"))
    images, labels, parts = loaded[:3]
    reference = load_digits()
    assert parts is None
    assert torch.equal(images[:, 0].float().mul(16 / 255).round(), torch.from_numpy(reference.images).float())
    assert torch.equal(labels, torch.from_numpy(reference.target).long())
    facts_hold(Digits(), loaded)


@needs_fashion_mnist
def test_fashion_mnist_is_found_where_debian_puts_it(tmp_path: Path) -> None:
    loaded = FashionMNIST().load(tmp_path)
    facts_hold(FashionMNIST(), loaded)
    assert num_train_of(loaded) == 60_000
    assert torch.bincount(loaded.labels[60_000:]).tolist() == [1000] * 10


def test_idx_files_below_the_root_come_first(write_set: Callable[..., Path], tmp_path: Path) -> None:
    write_set()
    loaded = FashionMNIST().load(tmp_path)
    images, labels = loaded[:2]
    assert images.shape == (80, 1, 28, 28)
    assert num_train_of(loaded) == 60
    assert labels.tolist() == [*(index % 10 for index in range(60)), *(index % 10 for index in range(20))]


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "file cut in the middle": (lambda data: data[: len(data) // 2], "truncated"),
    "byte of the stream changed": (lambda data: data[:-2000] + b"\x5a\xa5\x5a" + data[-1997:], "checksum"),
    "checksum changed": (lambda data: data[:-8] + b"\x00\x01\x02\x03" + data[-4:], "checksum"),
    "no gzip file": (lambda data: b"<html>not found</html>", "checksum"),
    "contents too short": (lambda data: gzip.compress(gzip.decompress(data)[:-5]), "5 bytes are missing"),
    "contents too long": (lambda data: gzip.compress(gzip.decompress(data) + b"\0"), "more than the"),
    "another format": (lambda data: gzip.compress(b"\0\0\x0d\x03" + gzip.decompress(data)[4:]), "no IDX file"),
    "empty": (lambda data: b"", "truncated"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_file_is_named(damage: str, write_set: Callable[..., Path], tmp_path: Path) -> None:
    path = write_set() / "train-images-idx3-ubyte.gz"
    change, expected = DAMAGES[damage]
    rewrite(path, change)
    with pytest.raises(ValueError, match=expected) as caught:
        FashionMNIST().load(tmp_path)
    assert str(path) in str(caught.value)
    assert "delete the file or install it again" in str(caught.value)


def test_images_of_another_size_are_named(write_set: Callable[..., Path], tmp_path: Path) -> None:
    write_set("mnist", size=20)
    with pytest.raises(ValueError, match=r"\(60, 20, 20\), expected \(60, 28, 28\)"):
        MNIST().load(tmp_path)


def test_absent_set_without_a_network_names_the_ways_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):  # a port where nobody listens
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setattr("urllib.request._opener", None)  # it remembers the proxies of its first use
    monkeypatch.setattr("leyden.data.sources.DEBIAN_FASHION_MNIST", tmp_path / "absent")
    with pytest.raises(ValueError, match="could not be downloaded") as caught:
        FashionMNIST().load(tmp_path)
    message = str(caught.value)
    assert "install Debian's package dataset-fashion-mnist" in message
    assert str(tmp_path / "fashion_mnist") in message
    with pytest.raises(ValueError, match="run once with a network"):
        MNIST().load(tmp_path)
    with pytest.raises(ValueError, match=r"unpack cifar-10-python\.tar\.gz"):
        CIFAR10().load(tmp_path)


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serves a directory over HTTP on this machine; returns its address."""
    servers = []

    def start(directory: Path) -> str:
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(directory))
        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_download_with_a_wrong_checksum_is_refused(
    tmp_path: Path, serve: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST as REFERENCE

    served = tmp_path / "served"
    served.mkdir()
    for name, _ in REFERENCE.resources:
        (served / name).write_bytes(gzip.compress(b"something else"))
    monkeypatch.setattr(REFERENCE, "mirrors", [serve(served)])
    with pytest.raises(ValueError, match="could not be downloaded"):
        MNIST().load(tmp_path / "data")


def test_download_is_verified_and_read(
    tmp_path: Path, write_set: Callable[..., Path], serve: Callable[[Path], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import MNIST as REFERENCE

    served = write_set("served")
    md5s = [(name, hashlib.md5((served / name).read_bytes()).hexdigest()) for name, _ in REFERENCE.resources]
    monkeypatch.setattr(REFERENCE, "resources", md5s)
    monkeypatch.setattr(REFERENCE, "mirrors", [serve(served)])
    loaded = MNIST().load(tmp_path / "data")
    assert len(loaded.images) == 80
    assert num_train_of(loaded) == 60


@pytest.mark.parametrize(
    ("source", "name", "num_classes", "key"),
    [(CIFAR10(), "CIFAR10", 10, "labels"), (CIFAR100(), "CIFAR100", 100, "fine_labels")],
)
def test_cifar_archive_becomes_one_tensor(
    source: Source, name: str, num_classes: int, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An archive in torchvision's layout, with fewer images: rows of 1024 red, green, then blue bytes."""
    import torchvision.datasets

    kind = getattr(torchvision.datasets, name)
    root = tmp_path / source.name
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    lists: dict[str, list[list[str]]] = {}
    rows = []
    for part in ("train_list", "test_list"):
        lists[part] = []
        for file, _ in getattr(kind, part):
            data = generator.integers(256, size=(4, 3072), dtype=np.uint8)
            rows.append(data)
            contents = pickle.dumps({"data": data, key: [0, 1, 2, num_classes - 1]}, protocol=2)
            (folder / file).write_bytes(contents)
            lists[part].append([file, hashlib.md5(contents).hexdigest()])
        monkeypatch.setattr(kind, part, lists[part])
    meta = pickle.dumps({kind.meta["key"]: list(source.class_names)}, protocol=2)
    (folder / kind.meta["filename"]).write_bytes(meta)
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": hashlib.md5(meta).hexdigest()})
    loaded = source.load(tmp_path)
    assert isinstance(loaded, Images)
    images, labels = loaded[:2]
    expected = torch.from_numpy(np.concatenate(rows)).view(-1, 3, 32, 32)
    assert torch.equal(images, expected)
    assert num_train_of(loaded) == len(expected) - 4
    assert labels[:4].tolist() == [0, 1, 2, num_classes - 1]


def test_unpacked_archive_is_not_asked_for_again(tmp_path: Path) -> None:
    directory = tmp_path / "cifar10"
    directory.mkdir()
    with tarfile.open(directory / "cifar-10-python.tar.gz", "w:gz"):
        pass  # an empty archive, whose checksum is wrong
    with pytest.raises(ValueError, match="is not whole"):
        CIFAR10().load(tmp_path)


@pytest.mark.network
@pytest.mark.parametrize("source", [MNIST(), FashionMNIST(), CIFAR10(), CIFAR100()], ids=lambda source: source.name)
def test_downloaded_set_has_the_facts_announced(source: Source, tmp_path: Path) -> None:
    facts_hold(source, source.load(tmp_path))


def test_digits_deviation_is_of_a_usual_split() -> None:
    images, labels = Digits().load(Path("unused"))[:2]
    parts = split(labels.numpy(), None, None, 0.15, 0.2, 0)
    pixels = images[parts.train].double() / 255
    assert abs(float(pixels.mean()) - Digits.mean[0]) < 5e-3
    assert abs(float(pixels.std()) - Digits.std[0]) < 5e-3


def test_file_of_an_image_is_opened_as_it_lies_unless_the_source_knows_better(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"its bytes")
    files = Files(tmp_path, ["a.jpg"], torch.zeros(1), torch.zeros)
    with files.open_file(str(tmp_path / "a.jpg")) as file:
        assert file.read() == b"its bytes"
