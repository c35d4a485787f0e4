"""The typed root, and where keys come from."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from leyden.config import CONFIG_DIRECTORY, own_directories, suggest


def test_suggestion_names_the_nearest_word_or_all() -> None:
    assert suggest("adma", ["adam", "sgd"]) == "did you mean 'adam'?"
    assert suggest("zzz", ["adam", "sgd"]) == "expected one of adam, sgd"


def test_options_of_ones_own_lie_in_conf_and_where_the_command_line_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert own_directories() == []
    for name in ("conf", "more"):
        (tmp_path / name).mkdir()
    assert own_directories(["--config-dir", "more"]) == [tmp_path / "conf", tmp_path / "more"]
    assert own_directories(["--config-dir=conf", "-cd", "absent"]) == [tmp_path / "conf"]
    monkeypatch.chdir(CONFIG_DIRECTORY.parent)  # a clone, whose conf/ is ours
    assert own_directories() == []


def test_value_may_go_by_what_was_chosen_of_a_group(
    leyden: Callable[..., subprocess.CompletedProcess[str]], command: Callable[..., tuple[int, str, str]]
) -> None:
    rate = "optimizer.lr='${by_choice:finetune,{full: 0.01, gradual: 0.02}}'"
    done = leyden("train", "--cfg", "job", "--resolve", "--package", "optimizer", rate, "finetune=gradual")
    assert "lr: 0.02" in done.stdout
    code, _, error = command(rate, "finetune=bitfit")
    assert code == 1
    assert "by_choice has no value for finetune=bitfit: it has full, gradual" in error
    epochs = "epochs='${by_choice:data.labels_per_class,{5: 100, null: 12}}'"
    for labels, passes in {"5": 100, "null": 12}.items():
        done = leyden("train", "--cfg", "job", "--resolve", epochs, f"data.labels_per_class={labels}")
        assert f"\nepochs: {passes}\n" in done.stdout


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (
            "by_choice:data.labels_per_clas,{5: 0.1, null: 0.2}",
            "no key 'data.labels_per_clas': did you mean 'data.labels",
        ),
        ("by_choice:finetne,{full: 0.1}", "there is no group 'finetne' to choose of: did you mean 'finetune'?"),
        ("by_choice:finetune,5", "by_choice:finetune has 5 where a value for each choice is expected"),
    ],
)
def test_choice_of_what_is_not_there_is_refused(
    command: Callable[..., tuple[int, str, str]], expression: str, message: str
) -> None:
    code, _, error = command(f"optimizer.lr='${{{expression}}}'")
    assert code == 1
    assert message in error
