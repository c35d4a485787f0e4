"""Artefacts of W&B, which stands aside here: its client is replaced by one that has the files."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import wandb

from exports import untrained
from leyden import command_line
from leyden.export.command import files_of
from leyden.export.remote import network_in
from leyden.predict.answers import Answering
from leyden.predict.command import settings_of
from leyden.predict.options import Options
from leyden.trained import Trained, open_network


class Api:
    """Has the files of one directory as a version of me/rooms/model."""

    directory, version = Path(), "v3"

    def artifact(self, name: str) -> SimpleNamespace:
        if name != "me/rooms/model:best":
            raise wandb.errors.CommError(f"artifact '{name}' not found\nin 'me/rooms'")
        return SimpleNamespace(version=Api.version, download=lambda root: shutil.copytree(Api.directory, root))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    untrained(tmp_path / "run", "backbone.width=8")
    Api.directory, Api.version = tmp_path / "run" / "checkpoints", "v3"
    monkeypatch.setattr(wandb, "Api", Api)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_artefact_is_fetched_and_opened(here: Path) -> None:
    opened = open_network(Path("wandb:me/rooms/model:best"))
    assert isinstance(opened, Trained)
    assert opened.path == Path("runs/wandb_artefacts/me/rooms/model/v3/best.ckpt")
    images = torch.zeros(2, 3, 16, 16, dtype=torch.uint8)
    assert torch.equal(opened.logits(images), Trained(here / "run").logits(images))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("wandb:rooms/model:best", "run=wandb:rooms/model:best: expected wandb:<entity>/<project>/<artefact>:<alias>"),
        ("wandb:me/rooms/model", r"run=wandb:me/rooms/model: W&B does not give it \(.*not found"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_wandb_has_not_is_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence) as caught:
        open_network(Path(name))
    assert "\n" not in str(caught.value)


def test_a_directory_of_several_networks_is_not_guessed_at(tmp_path: Path) -> None:
    for name in ("a.ckpt", "b.onnx"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"expected one checkpoint or exported file .*, found a\.ckpt, b\.onnx"):
        network_in(tmp_path)
    (tmp_path / "best.ckpt").write_bytes(b"")
    assert network_in(tmp_path) == tmp_path / "best.ckpt"


def test_what_an_export_is_called_at_wandb_is_opened_from_there(tmp_path: Path) -> None:
    named = files_of(tmp_path / "a b.onnx", "onnx", quantize=True)
    assert named == {"model.onnx": tmp_path / "a b.onnx", "model.int8.onnx": tmp_path / "a b.int8.onnx"}
    for name in named:
        (tmp_path / name).write_bytes(b"")
    assert network_in(tmp_path) == tmp_path / "model.onnx"


def test_answers_of_one_version_are_not_taken_for_those_of_the_next(here: Path) -> None:
    """`leyden predict` goes on where it was stopped only with the same network."""
    words = [f"run={here / 'run'}", "format=safetensors", f"output={here / 'export'}"]
    assert command_line.of_a_run("export", words) == 0
    Api.directory = here / "export"
    settings = []
    for version in ("v3", "v4"):
        Api.version = version
        opened = open_network(Path("wandb:me/rooms/model:best"))
        asked = Options(run=Path("wandb:me/rooms/model:best"), input="photos")
        settings.append(settings_of(Answering(opened), asked))
        (here / "export" / "README.md").write_text("another")
    assert settings[0] != settings[1]
