"""Errors become one sentence that names what was wrong."""

from pathlib import Path

import pytest
from hydra.errors import HydraException

from leyden import command_line
from leyden.errors import explain


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("two\n  lines"), "two lines"),
        (RuntimeError("inside a library"), "RuntimeError: inside a library"),
        (KeyError(), "KeyError"),
        (ModuleNotFoundError("No module named 'ray'"), "No module named 'ray': install it with pip"),
        (PermissionError(13, "Permission denied", "runs"), "runs: Permission denied"),
        (OSError(28, "No space left on device"), "the disk is full: free some space"),
        (OSError(28, "No space left on device", "runs/x"), "runs/x: the disk is full: free some space"),
    ],
)
def test_error_becomes_one_sentence(error: Exception, expected: str) -> None:
    line = explain(error)
    assert line.startswith(expected)
    assert "\n" not in line


def test_words_are_found_for_an_error_of_the_composition_that_has_none() -> None:
    assert explain(HydraException()) == "HydraException"


RECIPES = {
    "defaults:\n  - override /data: digits": "the first line of a recipe is `# @package _global_`",
    "# @package _global_\ndefaults:\n  - override /los: focal": "there is no group 'los': did you mean 'loss'?",
    "# @package _global_\ndefaults:\n  - optimizer: lion": "in a recipe that is `- override /optimizer: lion`",
    "# @package _global_\ndefaults:\n  - override /loss: focal\n  - optimizer: mine": "`- override /optimizer: mine`",
}


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_is_wrong_with_a_recipe_is_told_in_its_own_words(
    recipe: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for group, text in (("experiment", recipe), ("experiment/optimizer", "lr: 1")):
        (tmp_path / "conf" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf" / group / "mine.yaml").write_text(text + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert command_line.train(["experiment=mine"]) == 1
    assert RECIPES[recipe] in capsys.readouterr().err


def test_misspelt_key_is_known_beside_another_and_in_options_of_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    places = [tmp_path / name for name in ("theirs", "of (mine)")]
    for place in places:
        (place / "optimizer").mkdir(parents=True)
        (place / "optimizer" / f"{place.name[:2]}.yaml").write_text("_target_: mine.Optimizer\nmu: 1\nspeed: 2\n")
    for words, expected in {
        ("optimizer=sgd", "optimizer.momentm=0.1", "head.dropot=0.2"): "did you mean 'momentum'?",
        ("lr=0.1", "head.dropot=0.2"): "did you mean 'optimizer.lr'?",
        ("--config-dir", str(places[1]), "optimizer=of", "optimizer.sped=1"): "did you mean 'speed'?",
        (f"hydra.searchpath=[file://{places[0]}]", "optimizer=th", "optimizer.sped=1", "x=1"): "did you mean 'speed'?",
    }.items():
        assert command_line.train(words) == 1
        assert expected in capsys.readouterr().err
