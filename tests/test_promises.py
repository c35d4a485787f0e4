"""The page of promises says what was measured, and nothing else."""

import json
import logging
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import torch
import yaml
from benchmarks.measure import Line, is_asked_for, threads
from benchmarks.promises import KEPT, PAGE, RESULTS, page

NAMES = [record["name"] for record in json.loads(RESULTS.read_text(encoding="utf-8"))]
FACTS = {"promise", "command", "figure", "met", "date", "machine", "commit"}


def test_page_is_what_was_measured() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m benchmarks.promises"


def test_every_promise_has_its_figure_an_answer_and_when_where_and_of_what_it_was_measured() -> None:
    for record in json.loads(RESULTS.read_text(encoding="utf-8")):
        date.fromisoformat(record["date"])
        assert FACTS - record.keys() == {"promise", "command", "figure"}, record["name"]
        is_met = record["ratio"] <= record["target"] if record["at_most"] else record["ratio"] >= record["target"]
        assert record["met"] == is_met, record["name"]
    for promises in yaml.safe_load(KEPT.read_text(encoding="utf-8")).values():
        for promise in promises:
            assert set(promise) == FACTS
            assert promise["met"] == "yes" or promise["met"].startswith("by "), promise


def test_command_measures_the_line_that_it_names_or_what_gives_it() -> None:
    for name in NAMES:
        assert is_asked_for(name, [name])
        assert not is_asked_for("another line", [name])
    assert is_asked_for("report: 1,080 runs of 50 epochs", ["report: 1,080 runs of 50 epochs, peak memory"])
    assert is_asked_for("memory: growth from epoch 5 to epoch 50", ["memory: growth"])
    assert not is_asked_for("memory: growth from epoch 5 to epoch 50", ["memory: peak"])
    assert is_asked_for("any line", [])


def line(name: str, value: float) -> Line:
    return Line(name, value, 0.0, "s", value, 2.0, True, "nothing; the ratio is the figure")


def test_each_line_is_kept_as_soon_as_it_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = pytest.importorskip("benchmarks.__main__", exc_type=ImportError)  # it brings every reference
    results = tmp_path / "results.json"
    results.write_text(json.dumps([{"name": "gone"}]), encoding="utf-8")

    def two(name: str) -> Iterator[Line]:
        yield line(f"{name}, first", 1.0)
        raise KeyboardInterrupt

    monkeypatch.setattr(logging, "disable", lambda level: None)
    monkeypatch.setattr(bench, "RESULTS", results)
    monkeypatch.setattr(bench, "GROUPS", [lambda: [("one", lambda name: line(name, 3.0))], lambda: [("two", two)]])
    with pytest.raises(KeyboardInterrupt):
        bench.measure_lines([])
    assert names_in(results) == ["gone", "one", "two, first"]
    assert not bench.measure_lines(["one"])
    with pytest.raises(SystemExit, match="no line is called three"):
        bench.measure_lines(["three"])
    assert names_in(results) == ["gone", "one", "two, first"]
    monkeypatch.setattr(bench, "GROUPS", [lambda: [("one", lambda name: line(name, 1.0))]])
    assert bench.measure_lines([])
    assert names_in(results) == ["one"]


def names_in(results: Path) -> list[str]:
    return [record["name"] for record in json.loads(results.read_text(encoding="utf-8"))]


def test_threads_are_as_many_afterwards_as_before() -> None:
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
