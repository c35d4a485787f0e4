"""The index of shards: `tarfile`'s places, WebDataset's keys, and nothing lost without a word."""

import io
import multiprocessing
import os
import re
import signal
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from webdataset.tariterators import base_plus_ext

from leyden.data.shard_index import KEY_AND_SUFFIX, Sample, ShardIndex, open_index, scan

WriteShards = Callable[..., Path]
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
LONG = "photographs/" * 12 + "of a very long name" * 6
NAMES = ["0001", "a/0001", "a.b/c d/0002", "Zürich/ñandú", LONG]


def write(path: Path, files: dict[str, bytes], kind: int = tarfile.PAX_FORMAT) -> Path:
    """A tar file of these members, by Python's own writer."""
    with tarfile.open(path, "w", format=kind) as tar:
        for name, contents in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
    return path


def samples(*keys: str) -> dict[str, bytes]:
    """Images that differ and their labels, 0, 1, …"""
    files = {}
    for label, key in enumerate(keys):
        files[f"{key}.jpg"] = f"image of {key}".encode() * (1 + 100 * label)
        files[f"{key}.cls"] = b"%d\n" % label
    return files


def index_of(directory: Path, field: str = "label") -> ShardIndex:
    shards = sorted(path.name for path in directory.glob("*.tar"))
    return open_index(directory, shards, field, directory / ".leyden")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_its_images_at_their_places(kind: str, tmp_path: Path) -> None:
    files = samples(*(NAMES[:3] if kind == "ustar" else NAMES))  # its names are short
    path = write(tmp_path / "a.tar", files, FORMATS[kind])
    found = scan(path, "label")
    data = path.read_bytes()
    assert {sample.name: data[sample.offset : sample.offset + sample.size] for sample in found} == {
        name: contents for name, contents in files.items() if name.endswith("jpg")
    }
    assert [sample.label for sample in found] == [str(number) for number in range(len(found))]


@pytest.mark.parametrize(
    "name",
    [
        "a.jpg",
        "a.b.jpg",
        "a/b.jpg",
        "a.d/b.jpg",
        "./a.jpg",
        "a",
        "a/b",
        ".a.jpg",
        "a b.JPG",
        "a\nb.jpg",
        "é.x",
    ],
)
def test_keys_are_those_of_webdataset(name: str) -> None:
    match = KEY_AND_SUFFIX.fullmatch(name)
    expected = base_plus_ext(name)
    assert (match and (match[1], match[2].removeprefix("."))) == (expected if expected[0] else None)


def test_files_of_a_sample_may_stand_apart_and_others_do_not_count(tmp_path: Path) -> None:
    files = samples("a", "b")
    order = ["a.cls", "b.cls", "b.jpg", "a.jpg"]
    others = {"README": b"x", "._a.jpg": b"x", "a.mask.png": b"x", "b.txt": b"x"}
    path = write(tmp_path / "a.tar", others | {name: files[name] for name in order})
    assert [(sample.name, sample.label) for sample in scan(path, "label")] == [("b.jpg", "1"), ("a.jpg", "0")]


@pytest.mark.parametrize(
    ("contents", "label"),
    [(b'{"label": 3}', "3"), (b'{"label": "cat"}', "cat"), (b'{"x": {}, "label": " a\xc3\xa9"}', " aé")],
)
def test_label_may_be_a_field_of_json(contents: bytes, label: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", {"a.webp": b"x", "a.json": contents})
    assert [sample.label for sample in scan(path, "label")] == [label]
    write(
        tmp_path / "b.tar", {"a.webp": b"x", "a.json": contents.replace(b"label", b"kind"), "b.PNG": b"", "b.cls": b"7"}
    )
    assert [sample.label for sample in scan(tmp_path / "b.tar", "kind")] == [label, "7"]


WRONG: dict[str, tuple[dict[str, bytes], str]] = {
    "no label": (
        {"a.jpg": b"x"},
        "sample a has no label: expected a class's number or name in a.cls, or in 'label' of a.",
    ),
    "no image": ({"b.jpg": b"", "b.cls": b"0", "a.cls": b"0"}, r"sample a has no image \(.bmp, "),
    "no sample": ({"readme": b"x"}, "holds no image"),
    "two images": ({"a.jpg": b"x", "a.png": b"x", "a.cls": b"0"}, "sample a has both a.jpg and a.png"),
    "empty label": ({"a.jpg": b"x", "a.cls": b"\n"}, "a.cls holds the label ''"),
    "label of bytes": ({"a.jpg": b"x", "a.cls": b"\xff"}, "a.cls holds no label"),
    "no JSON": ({"a.jpg": b"x", "a.json": b"{"}, "a.json holds no label"),
    "JSON without the field": ({"a.jpg": b"x", "a.json": b'{"class": 1}'}, r"a.json holds no label \('label'\)"),
    "JSON list": ({"a.jpg": b"x", "a.json": b"[1]"}, "a.json holds no label"),
    "fraction": ({"a.jpg": b"x", "a.json": b'{"label": 0.5}'}, "a.json holds the label 0.5"),
    "true": ({"a.jpg": b"x", "a.json": b'{"label": true}'}, "a.json holds the label True"),
}


@pytest.mark.parametrize("case", WRONG)
def test_sample_without_image_or_label_is_named(case: str, tmp_path: Path) -> None:
    files, expected = WRONG[case]
    path = write(tmp_path / "a.tar", files)
    with pytest.raises(ValueError, match=expected) as caught:
        scan(path, "label")
    assert str(caught.value).startswith(str(path))


def test_key_that_comes_twice_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", samples("a", "b"))
    with tarfile.open(path, "a") as tar:
        tar.addfile(tarfile.TarInfo("a.jpg"))
    with pytest.raises(ValueError, match=r"sample a has both a.jpg and a.jpg, expected each key once"):
        scan(path, "label")


@pytest.mark.parametrize("kind", FORMATS)
def test_shard_cut_anywhere_is_told_with_its_place(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", samples(*NAMES[:4], *([] if kind == "ustar" else [LONG])), FORMATS[kind])
    data = path.read_bytes()
    end = len(data.rstrip(b"\0")) // 512 * 512 + 512  # where zeros begin that end the archive
    for length in [*range(0, end + 512, 128), end + 511]:
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"a.tar is (cut short|no tar file)"):
            scan(path, "label")
    path.write_bytes(data[: end + 512])
    assert len(scan(path, "label")) >= 4


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_header_is_no_end_of_the_archive(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", samples("a", "b", *([] if kind == "ustar" else [LONG])), FORMATS[kind])
    data, whole = bytearray(path.read_bytes()), scan(path, "label")
    with tarfile.open(path) as tar:
        headers = [member.offset for member in tar]
    told = 0
    for position in [place for header in headers for place in range(header, header + 512, 5)]:
        data[position] ^= 0x55
        path.write_bytes(data)
        try:
            assert scan(path, "label") == whole  # a byte between the checksum and the next field
        except ValueError as error:
            assert re.search(r"a.tar is (damaged|cut short or damaged|no tar file)", str(error))  # noqa: PT017
            told += 1
        data[position] ^= 0x55
    assert told >= len(headers) * 100


def test_cut_shard_is_named_with_the_file_that_was_cut(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", samples("a", "b"), tarfile.USTAR_FORMAT)
    with tarfile.open(path) as tar:
        member = tar.getmember("b.jpg")
    os.truncate(path, member.offset_data + 100)
    with pytest.raises(ValueError, match=f"behind b.jpg, which begins at byte {member.offset} "):
        scan(path, "label")


def test_joined_shards_are_refused_where_tarfile_reads_the_first(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", samples("a"))
    path.write_bytes(path.read_bytes() + write(tmp_path / "b.tar", samples("b")).read_bytes())
    with pytest.raises(ValueError, match=r"a.tar goes on after its end at byte \d+"):
        scan(path, "label")


def test_negative_size_does_not_go_round_for_ever(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", samples("a"), tarfile.GNU_FORMAT)
    data = bytearray(path.read_bytes())
    data[124:136] = (-1024).to_bytes(12, "big", signed=True)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    path.write_bytes(data)
    with pytest.raises(ValueError, match="a file of negative size"):
        scan(path, "label")


@pytest.mark.parametrize("mode", ["gz", "bz2", "xz"])
def test_compressed_shard_is_refused_by_the_name_of_its_compression(mode: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", f"w:{mode}"):  # type: ignore[call-overload]
        pass
    with pytest.raises(ValueError, match=r"a.tar is compressed \((gzip|bzip2|xz)\).*: unpack it"):
        scan(tmp_path / "a.tar", "label")


def test_links_and_sparse_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    (tmp_path / "a.cls").write_bytes(b"0")
    os.link(tmp_path / "a.jpg", tmp_path / "b.jpg")
    (tmp_path / "c.jpg").symlink_to("a.jpg")
    with (tmp_path / "d.jpg").open("wb") as file:
        file.truncate(2**20)
    for name, kind in [("b.jpg", "a link"), ("c.jpg", "a link"), ("d.jpg", "sparse")]:
        command = ["tar", "--create", "--sparse", "--file", "a.tar", "a.jpg", "a.cls", name]
        subprocess.run(command, cwd=tmp_path, check=True)
        with pytest.raises(
            ValueError, match=f"{name} is {kind}, expected plain files: write the shard with `tar --deref"
        ):
            scan(tmp_path / "a.tar", "label")


def test_index_goes_over_all_shards_in_order(write_shards: WriteShards) -> None:
    index = index_of(write_shards())
    assert index.shards == [f"train-{first:04}.tar" for first in range(0, 300, 70)]
    assert [index.name(number) for number in range(len(index))] == [f"{number:04}.png" for number in range(300)]
    assert index.samples["shard"].tolist() == [number // 70 for number in range(300)]


def test_index_is_kept_while_shards_are_what_they_were(write_shards: WriteShards) -> None:
    directory = write_shards()
    digest, state, built = (
        index_of(directory).digest,
        index_of(directory).state,
        set((directory / ".leyden").rglob("*")),
    )
    assert index_of(directory).digest == digest
    assert set((directory / ".leyden").rglob("*")) == built
    (directory / "train-0280.tar").touch()
    assert index_of(directory).digest == digest  # another time of change, the same contents
    assert index_of(directory).state != state
    write(directory / "train-0280.tar", samples("a"))
    assert len(index_of(directory)) == 281
    assert index_of(directory).digest != digest


def in_processes(count: int, work: Callable[[int], object]) -> list[int | None]:
    """Forks processes that begin `work` at once; returns their exit codes."""
    fork = multiprocessing.get_context("fork")
    begin = fork.Barrier(count)

    def run(number: int) -> None:
        begin.wait()
        work(number)

    processes = [fork.Process(target=run, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def test_killed_builder_leaves_nothing_that_passes_for_an_index(
    write_shards: WriteShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write_shards()

    def scan_until_killed(path: Path, field: str) -> list[Sample]:
        if path.name == "train-0210.tar":
            os.kill(os.getpid(), signal.SIGKILL)
        return scan(path, field)

    with monkeypatch.context() as patch:
        patch.setattr("leyden.data.shard_index.scan", scan_until_killed)
        assert in_processes(1, lambda _: index_of(directory)) == [-signal.SIGKILL]
    (partial,) = (directory / ".leyden").glob("*.partial")
    assert len(index_of(directory)) == 300
    assert not partial.exists()


def test_of_several_builders_one_builds_and_all_have_its_index(
    write_shards: WriteShards, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write_shards()

    def told_scan(path: Path, field: str) -> list[Sample]:
        with (tmp_path / "scanned").open("a") as file:
            file.write(f"{path.name}\n")
        return scan(path, field)

    monkeypatch.setattr("leyden.data.shard_index.scan", told_scan)
    assert in_processes(4, lambda number: (tmp_path / f"{number}").write_text(index_of(directory).digest)) == [0] * 4
    assert (tmp_path / "scanned").read_text().split() == sorted(path.name for path in directory.glob("*.tar"))
    assert len({(tmp_path / f"{number}").read_text() for number in range(4)}) == 1


def test_shard_that_cannot_be_read_is_named(write_shards: WriteShards) -> None:
    directory = write_shards()
    (directory / "train-9999.tar").mkdir()
    with pytest.raises(ValueError, match=r"train-9999\.tar cannot be read \(Is a directory\)"):
        open_index(directory, ["train-0000.tar", "train-9999.tar"], "label", directory / ".leyden")


def test_index_that_was_cut_and_a_place_that_cannot_be_written_are_named(write_shards: WriteShards) -> None:
    directory = write_shards()
    index_of(directory)
    (path,) = (directory / ".leyden").glob("*/samples.bin")
    path.write_bytes(path.read_bytes()[:-32])
    with pytest.raises(ValueError, match=rf"{path.parent} is damaged \(.*\): delete it"):
        index_of(directory)
    with pytest.raises(ValueError, match=r"give a directory that can be written with data\.source\.index_dir"):
        open_index(directory, ["train-0000.tar"], "label", directory / "train-0000.tar")
