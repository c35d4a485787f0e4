"""The card and the citation of a run, against what run.json says of it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from exports import train_once, untrained
from leyden import command_line
from leyden.card.write import card_of, citation_of, commits_in_words
from leyden.export.command import write
from leyden.predictions import read_predictions
from leyden.trained import Trained
from running import FinishedRun


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    words = ["backbone=mlp", "backbone.width=16", "test_time.temperature=true"]
    return train_once(tmp_path_factory.mktemp("runs") / "a run é", *words)


def test_commits_of_leyden_and_of_the_project_are_told_apart() -> None:
    record = {"git_commit": "1" * 40, "git_dirty": False, "project_commit": "2" * 40, "project_dirty": True}
    told = f", commit {'1' * 12}, of the project commit {'2' * 12} with uncommitted changes"
    assert commits_in_words(record) == told
    assert commits_in_words({"git_commit": None, "git_dirty": None}) == ""


def test_its_figures_are_those_of_the_record(run: FinishedRun) -> None:
    assert command_line.of_a_run("card", [f"run={run.directory}"]) == 0
    card = (run.directory / "card" / "README.md").read_text(encoding="utf-8")
    low, high = run.record["intervals"]["test/accuracy"]
    assert (
        f"| accuracy | {100 * run.metrics['test/accuracy']:.2f} % | {100 * low:.2f} % to {100 * high:.2f} % |" in card
    )
    assert run.record["data"]["fingerprint"] in card
    assert (run.record["git_commit"] or "")[:12] in card
    assert f"of {run.record['parameters']:,} parameters" in card
    assert "1,169" not in card  # a third of the labels was used
    worst = min(range(10), key=lambda label: run.metrics[f"test/recall/{label}"])
    assert f"It is weakest on {worst}: recall {100 * run.metrics[f'test/recall/{worst}']:.2f} % (95" in card
    assert "269 validation images chose" in card
    assert "leyden predict run=" in card
    assert "| optimizer | AdamW (lr 0.005" in card


def test_text_that_somebody_wrote_into_a_card_stays(run: FinishedRun, capfd: pytest.CaptureFixture[str]) -> None:
    path = run.directory / "mine" / "README.md"
    words = [f"run={run.directory}", f"output={path.parent}"]
    assert command_line.of_a_run("card", words) == command_line.of_a_run("card", words) == 0
    path.write_text(path.read_text(encoding="utf-8") + "license: mit\n", encoding="utf-8")
    assert command_line.of_a_run("card", words) == 1
    assert f"{path} holds other text, which may be yours" in capfd.readouterr().err
    assert path.read_text(encoding="utf-8").endswith("license: mit\n")


def test_a_class_that_was_not_tested_is_not_the_weakest(run: FinishedRun) -> None:
    network = Trained(run.directory)
    network.record["metrics"]["test/recall/3"] = 0.0
    network.record["intervals"]["test/recall/3"] = [0.0, 1.0]
    assert "It is weakest on" in card_of(network)
    assert "It is weakest on 3" not in card_of(network)


def test_it_counts_the_test_images_that_could_be_read(
    train_run: Callable[..., FinishedRun], write_digits: Callable[..., Path]
) -> None:
    directory = write_digits()
    for path in sorted(directory.rglob("*.png"))[::5]:
        path.write_bytes(path.read_bytes()[:60])
    size = ["data.source.image_size=8", "data.source.channels=1", "data.source.mean=[0.3]", "data.source.std=[0.4]"]
    run = train_run("data=image_folder", f"data.root={directory}", "data.on_error=skip", *size)
    stored, data = read_predictions(run.directory), run.record["data"]
    assert stored is not None
    assert 0 < data["num_test_skipped"] == data["num_test"] - len(stored.predictions)
    card = card_of(Trained(run.directory))
    assert f"Of {len(stored.predictions)} test images, looked at once" in card
    assert f", {len(stored.predictions)} of which were tested" in card


def test_its_head_is_yaml_that_leaves_the_licence_open(run: FinishedRun) -> None:
    head = yaml.safe_load(card_of(Trained(run.directory)).split("---")[1])
    assert head["license"] is None
    assert head["pipeline_tag"] == "image-classification"
    assert head["tags"] == ["single_label", "pytorch"]


def test_a_citation_names_the_run_and_leaves_its_author_open(run: FinishedRun) -> None:
    text = citation_of(Trained(run.directory))
    assert f"@misc{{leyden_{run.record['run_id']}," in text
    assert "author = {}," in text
    assert f"year   = {{{run.record['started'][:4]}}}" in text
    entry = text[text.index("@misc") : text.index("\n}")]
    assert not re.findall(r"(?<!\\)[%&#_$]", entry.replace("@misc{leyden_", ""))


def test_figures_of_averaged_weights_are_theirs(tmp_path: Path) -> None:
    words = ["backbone=mlp", "backbone.width=16", "callbacks.ema.decay=0.9", "monitor=val/ema_accuracy"]
    run = train_once(tmp_path / "run", *words)
    ours, raw = (f"{100 * run.metrics[name]:.2f} %" for name in ("test/ema_accuracy", "test/accuracy"))
    assert ours != raw
    card, citation = card_of(Trained(run.directory)), citation_of(Trained(run.directory))
    assert f"| accuracy | {ours} | – |" in card
    assert f"test accuracy {ours};" in citation
    assert "weakest" not in card
    assert "intervals say" not in card
    alone = shutil.copy(run.directory / "checkpoints" / "best.ckpt", tmp_path / "alone.ckpt")
    assert "No test figures are known: no run.json" in card_of(Trained(Path(alone)))


def test_figures_of_other_weights_are_told(run: FinishedRun) -> None:
    assert "The weights here are those of last.ckpt, which these figures are not of." in card_of(
        Trained(run.directory, "last")
    )


def test_without_a_record_nothing_is_made_up(tmp_path: Path) -> None:
    for task in ("multi_label", "regression"):
        network = untrained(tmp_path / task, "backbone.width=8", task=task)  # type: ignore[arg-type]
        card = card_of(network)
        assert "No test figures are known: no run.json of this run lies beside its weights." in card
        assert "95 %" not in card
        assert "Undefined" not in card
        assert "None" not in card


def test_an_export_has_its_card(tmp_path: Path) -> None:
    network = untrained(tmp_path / "run", "backbone.width=8")
    write(network, "safetensors", tmp_path / "out")
    assert command_line.of_a_run("card", [f"run={tmp_path / 'out'}", f"output={tmp_path / 'card'}"]) == 0
    assert (tmp_path / "card" / "README.md").read_bytes() == (tmp_path / "out" / "README.md").read_bytes()
    assert "run 0123456789abcdef" in (tmp_path / "card" / "CITATION").read_text(encoding="utf-8").lower()
