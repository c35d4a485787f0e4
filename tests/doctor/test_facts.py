"""What is seen of an image, against Pillow and imagehash; which files cannot be read."""

from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from doctor.planted import Planted
from leyden.data import Digits
from leyden.doctor.facts import FEW, Facts, of_files, of_images, turn


def test_every_damaged_file_is_told_and_no_other(planted: Planted, paths: list[str], facts: Facts) -> None:
    assert {paths[index] for index in facts.reasons} == {*planted.truncated, *planted.texts}
    assert "it is no image" in facts.reasons[paths.index(planted.texts[0])]
    assert "truncated" in facts.reasons[paths.index(planted.truncated[0])]


def test_sizes_modes_and_hashes_are_those_of_pillow_and_imagehash(planted: Planted, paths: list[str]) -> None:
    chosen = [path for path in paths if path not in {*planted.truncated, *planted.texts}][::9]
    table = of_files(planted.directory, chosen, num_processes=0, with_turns=False).table
    for row, path in zip(table, chosen, strict=True):
        with Image.open(planted.directory / path) as image:
            assert (row["width"], row["height"]) == image.size
            assert (row["mode"], row["format"]) == (image.mode, image.format)
            assert int(row["hashes"][0]) == int(str(imagehash.phash(image)), 16)


def test_processes_see_what_one_process_sees(planted: Planted, paths: list[str], facts: Facts) -> None:
    twice = [*paths, *paths]
    assert len(twice) > FEW
    in_processes = of_files(planted.directory, twice, num_processes=2, with_turns=True)
    assert in_processes.table.tobytes() == np.concatenate([facts.table, facts.table]).tobytes()
    assert len(in_processes.reasons) == 2 * len(facts.reasons)


def test_images_in_memory_are_seen_as_their_files(tmp_path: Path) -> None:
    images = Digits().load(tmp_path).images[:20].numpy()
    for number, image in enumerate(images):
        Image.fromarray(image[0]).save(tmp_path / f"{number:02}.png")
    held = of_images(images, num_processes=0, with_turns=True).table
    stored = of_files(tmp_path, [f"{number:02}.png" for number in range(20)], 0, with_turns=True).table
    assert set(stored["format"]) == {"PNG"}
    stored["format"] = ""
    assert held.tobytes() == stored.tobytes()


def test_photograph_stored_sideways_equals_the_upright_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(40, 60, 3), dtype=np.uint8)
    upright = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "sideways.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    table = of_files(tmp_path, ["sideways.png", "upright.png"], 0, with_turns=False).table
    assert table["digest"][0] == table["digest"][1]
    assert table["is_turned"].tolist() == [True, False]


def test_sixteen_bits_show_the_same_as_eight(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(256, size=(40, 60), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "8.png")
    Image.fromarray(pixels.astype(np.uint16) * 257).save(tmp_path / "16.png")
    table = of_files(tmp_path, ["8.png", "16.png"], 0, with_turns=False).table
    assert table["digest"][0] == table["digest"][1]


@pytest.mark.parametrize("kind", ["EPS", "ICO"])
def test_format_that_training_does_not_open_is_not_opened_under_another_suffix(kind: str, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), (10, 90, 120)).save(tmp_path / "image.png", kind)
    facts = of_files(tmp_path, ["image.png"], 0, with_turns=False)
    assert facts.reasons == {0: "it is no image of a known format"}


def test_bomb_is_told_and_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("L", (40, 40)).save(tmp_path / "large.png")  # Pillow warns of it
    Image.new("L", (400, 400)).save(tmp_path / "bomb.png")  # Pillow refuses it
    facts = of_files(tmp_path, ["large.png", "bomb.png"], 0, with_turns=False)
    assert "1,000" in facts.reasons[0]
    assert facts.reasons[1] == "its head announces more pixels than the 2,000 that memory is meant to hold"
    assert facts.table["width"].tolist() == [40, 0]


def test_eight_orientations_are_all_there_are() -> None:
    square = np.arange(9).reshape(3, 3)
    turned = {turn(square, number).tobytes() for number in range(8)}
    image = Image.fromarray(square.astype(np.uint8))
    expected = {np.asarray(image).astype(np.int64).tobytes()}
    expected |= {np.asarray(image.transpose(way)).astype(np.int64).tobytes() for way in Image.Transpose}
    assert turned == expected
