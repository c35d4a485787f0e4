"""Run record > **card** > README.md, CITATION: the template card.md.j2, filled with what a run has recorded."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from omegaconf import DictConfig, OmegaConf

from leyden import __version__
from leyden.card.limits import in_words, interval_in_words, limits, num_tested, tested, weights_of
from leyden.checkpoint import BEST
from leyden.config import words_of_one_run
from leyden.export.opened import Opened
from leyden.metric_names import HEADLINES, is_of_one_class
from leyden.trained import Trained

MOST_CLASSES = 30  # that a card names
SETTINGS = (
    "backbone", "head", "weights", "finetune", "loss", "optimizer", "schedule", "epochs", "steps", "batch_size",
    "augment", "monitor", "seed", "fold",
)  # fmt: skip
LEFT_OUT = {"_target_", "_partial_"}


def card_of(network: Trained, format: str | None = None) -> str:
    """The model card of a run's network, in Markdown; `format` is that of the export that it goes into."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        autoescape=False,
    )  # fmt: skip
    facts, record = network.facts, tested(network)
    return environment.get_template("card.md.j2").render(
        name=str(network.config.name),
        facts=facts,
        data=network.run["data"],
        run=network.run,
        record=record,
        is_timm=str(network.config.backbone["_target_"]).endswith(".TimmBackbone"),
        architecture=architecture(network.config),
        classes=_names(facts.class_names),
        results=results(record),
        best=_best(network.run, record),
        is_best=network.path.name == BEST,
        checkpoint=network.path.name,
        settings=settings(network.config),
        command=_command(network.run),
        limits=limits(network),
        num_tested=num_tested(network),
        views=network.test_time.views,
        temperature=network.test_time.temperature,
        version=record.get("versions", {}).get("leyden", __version__),
        commit=commits_in_words(record),
        minutes=f"{record['seconds'] / 60:.1f}" if record.get("seconds") else None,
        format=format,
        citation=citation_of(network),
    )


def citation_of(network: Trained | Opened) -> str:
    """A sentence and a BibTeX entry that name a run; who trained it is left to fill in."""
    run, record = network.run, tested(network)
    data, name = run["data"], str(network.config.name)
    began = str(record.get("started") or "")[:10]
    title = f"{name}: {architecture(network.config)} trained on {data['name']}"
    code = f"Leyden {record.get('versions', {}).get('leyden', __version__)}{commits_in_words(record)}"
    headline = HEADLINES[network.facts.task]
    row = next((row for row in results(record) if row[0] == headline), None)
    result = f"test {headline} {row[1]}" + (f" (95 % interval {row[2]})" if row[2] else "") if row else ""
    weights = weights_of(run)
    note = [f"run {run['run_id']}", result, f"data {data['name']}, SHA-256 {data['fingerprint']}", code]
    note_text = "; ".join(part for part in note if part)
    lines = [
        f"{title}. {note_text[0].upper()}{note_text[1:]}{f'; {began}' if began else ''}.",
        "",
        "The author of the entry is yours to fill in.",
        f"@misc{{leyden_{run['run_id']},",
        f"  title  = {{{_latex(title)}}},",
        "  author = {},",
        *([f"  year   = {{{began[:4]}}},"] if began else []),
        f"  note   = {{{_latex(note_text)}}},",
        "}",
        "",
        f"Cite what it came from as well: the data ({data['name']})"
        + (f", and the weights it began with ({weights.partition(':')[0]})" if weights else "") + ".",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def results(record: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Each test metric that is of all classes, with its value and its 95 % interval, in words."""
    bounds = record.get("intervals", {})
    return [
        (name.removeprefix("test/"), in_words(name, value), interval_in_words(name, bounds.get(name)))
        for name, value in record.get("metrics", {}).items()
        if name.startswith("test/") and not is_of_one_class(name) and value is not None
    ]


def architecture(config: DictConfig) -> str:
    """What the backbone is called: timm's name, or its class."""
    return str(config.backbone.get("name") or str(config.backbone["_target_"]).rpartition(".")[2])


def settings(config: DictConfig) -> list[tuple[str, str]]:
    """The settings that make a network what it is, each with the parts that are given, in words."""
    plain: Any = OmegaConf.to_container(config)
    return [(key, _setting_in_words(plain[key])) for key in SETTINGS if plain[key] is not None]


def _setting_in_words(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    name = str(value.get("_target_", "")).rpartition(".")[2]
    parts = [
        f"{key} {_setting_in_words(part)}"
        for key, part in value.items()
        if key not in LEFT_OUT and part not in (None, {})
    ]
    inner = ", ".join(parts)
    return f"{name} ({inner})" if name and inner else name or inner


def _names(class_names: tuple[str, ...]) -> str:
    shown = ", ".join(class_names[:MOST_CLASSES])
    more = len(class_names) - MOST_CLASSES
    return f"{shown} and {more} more" if more > 0 else shown


def _best(run: Mapping[str, Any], record: Mapping[str, Any]) -> str | None:
    """The weights that validation liked best, and its value."""
    metrics = record.get("metrics", {})
    monitored = next((name for name in metrics if name.startswith("best/val/")), None)
    if monitored is None or "best/epoch" not in metrics:
        return None
    made = f"the mean of {len(run['soup'])} runs" if "soup" in run else f"epoch {metrics['best/epoch']}"
    return f"the weights of {made} ({monitored.removeprefix('best/')} {in_words(monitored, metrics[monitored])})"


def commits_in_words(record: Mapping[str, Any]) -> str:
    """Of Leyden's code, and of the project that the run was called in."""
    told = ""
    for whose, kind in (("", "git"), ("of the project ", "project")):
        if commit := record.get(f"{kind}_commit"):
            told += f", {whose}commit {commit[:12]}" + (
                " with uncommitted changes" if record.get(f"{kind}_dirty") else ""
            )
    return told


def _command(run: Mapping[str, Any]) -> str:
    if "soup" in run:
        return shlex.join(["leyden", "soup", *run["soup"]])
    return shlex.join(["leyden", "train", *words_of_one_run(run.get("overrides", []))])


def _latex(text: str) -> str:
    return re.sub(r"([&%$#_{}])", r"\\\1", text)
