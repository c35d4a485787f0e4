"""The page of promises says what was measured, and nothing else."""

import json
from datetime import date

import yaml
from benchmarks.promises import KEPT, PAGE, RESULTS, page

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
