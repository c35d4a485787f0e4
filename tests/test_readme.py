"""The README's examples of parts of one's own, run as they stand there."""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WHOLE = (ROOT / "README.md").read_text(encoding="utf-8")
README = WHOLE.partition("## Add a part")[2].partition("\n## ")[0]
Leyden = Callable[..., subprocess.CompletedProcess[str]]

FILES = {
    "loss/brier.yaml": "_target_: my_parts.Brier\n",
    "schedule/linear.yaml": "_target_: my_parts.linear\n_partial_: true\n",
}


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """my_parts.py and my_conf/ as the README has them."""
    code = "import leyden.augment, leyden.data, torch\n" + "\n\n".join(
        re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    )
    (tmp_path / "my_parts.py").write_text(code)
    files = dict(FILES)
    for text in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL):
        name = re.match(r"# my_conf/(\S+)", text)
        assert name is not None
        files[name[1]] = text
    digits = (ROOT / "conf" / "data" / "digits.yaml").read_text(encoding="utf-8")
    files["data/stripes.yaml"] = digits.replace("leyden.data.Digits", "my_parts.Stripes")
    for name, text in files.items():
        path = tmp_path / "my_conf" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_examples_are_short() -> None:
    for example in re.findall(r"```(?:python|yaml)\n(.*?)```", README, re.DOTALL):
        assert len(example.splitlines()) < 12


def test_every_part_of_ones_own_trains(parts: Path, leyden: Leyden) -> None:
    done = leyden(
        "train", "--config-dir", "my_conf", "data=stripes", "backbone=linear", "loss=brier", "optimizer=adadelta",
        "schedule=linear", "+augment.operations.invert={_target_: my_parts.Invert}", "epochs=2", "trainer=cpu",
        "logger=csv",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    accuracy = re.search(r"test accuracy +([\d.]+)%", done.stdout)
    assert accuracy is not None
    assert float(accuracy[1]) > 40


def test_mistake_in_a_part_of_ones_own_is_named(parts: Path, leyden: Leyden) -> None:
    (parts / "my_conf" / "backbone" / "linear.yaml").write_text("_target_: my_parts.Linear\nwidht: 3\n")
    done = leyden("train", "--config-dir", "my_conf", "backbone=linear")
    assert done.returncode == 1
    assert "unknown key 'backbone.widht'" in done.stderr
    assert "my_conf/backbone/linear.yaml" in done.stderr


def test_first_page_names_the_pictures_that_a_run_leaves(leyden: Leyden) -> None:
    done = leyden("train", "backbone=mlp", "epochs=1", "trainer=cpu", "logger=csv")
    assert done.returncode == 0, done.stderr
    said, shown = (re.findall(r"^look at it .*", text, re.MULTILINE) for text in (done.stdout, WHOLE))
    assert said == shown
