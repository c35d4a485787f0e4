"""Run record > **limits** > card: what follows from what was recorded, and nothing else."""

from collections.abc import Mapping
from typing import Any

from leyden.checkpoint import is_of_the_average
from leyden.data.facts import DataFacts
from leyden.export.opened import Opened
from leyden.heads import Number
from leyden.metric_names import average_precision_names, is_percentage, recall_names
from leyden.trained import Trained

NOTHING_KNOWN = [0, 1]  # the interval of a share of no images
FINDS = {"single_label": "recall", "multi_label": "average precision"}


def limits(network: Trained) -> list[str]:
    """What a network is not good for, or not known to be, each in a sentence or two."""
    facts, run, record = network.facts, network.run, tested(network)
    data = run["data"]
    told = [
        _of_answers(network),
        _of_sight(facts),
        f"All figures are of images of {data['name']}, {num_tested(network):,} of which were tested: how it "
        "does on others was not measured.",
        _weakest(facts, record),
        _of_confidence(network, record),
        "The intervals say what other test images would change. What another seed or another split would, one run does "
        "not show."
        if record.get("intervals")
        else "",
        _of_weights(run),
        _of_skipped(record),
    ]  # fmt: skip
    return [sentence for sentence in told if sentence]


def tested(network: Trained | Opened) -> Mapping[str, Any]:
    """A run's record, with the test metrics of the weights that answer: of averaged ones, intervals are not known."""
    record: Mapping[str, Any] = network.record
    if not record or not is_of_the_average(network.run):
        return record
    ours = {name: value for name, value in record.get("metrics", {}).items() if not name.startswith("test/")}
    for name, value in record.get("metrics", {}).items():
        if name.startswith("test/ema_"):
            ours[name.replace("ema_", "", 1)] = value
    return {**record, "metrics": ours, "intervals": {}}


def num_tested(network: Trained) -> int:
    """How many images the test figures are of: those of the test part, but for files that could not be read."""
    left_out = network.record.get("data", {}).get("num_test_skipped", 0)
    return int(network.run["data"]["num_test"]) - int(left_out)


def _of_sight(facts: DataFacts) -> str:
    side, kept = facts.image_size, facts.stored_size
    colours = "grey" if facts.channels == 1 else f"{facts.channels} channels"
    cut = f", and of these the middle {side} × {side}" if side < kept else ""
    return (
        f"Of an image it sees the middle square, brought to {kept} × {kept} pixels in {colours}{cut}: nothing at the "
        f"ends of the longer side, and nothing that is smaller than 1/{kept} of the shorter one."
    )


def _of_answers(network: Trained) -> str:
    facts = network.facts
    if facts.task == "regression":
        head = network.classifier.head
        assert isinstance(head, Number)
        low, high = (float(head.mean + sign * 2 * head.deviation) for sign in (-1, 1))
        return (
            f"It gives a number for every image, whatever that shows. The labels that it learnt from were mostly "
            f"between {low:.4g} and {high:.4g} (their mean ± two deviations)."
        )
    if facts.task == "multi_label":
        return f"It knows these {facts.num_classes} labels and no others, and may give an image none of them."
    return (
        f"It answers with one of these {facts.num_classes} classes for every image, also for one that shows none of "
        "them."
    )


def _weakest(facts: DataFacts, record: Mapping[str, Any]) -> str:
    """The class with the lowest recall, or of several labels the lowest average precision, with its interval."""
    if facts.task == "regression":
        return ""
    names = {"single_label": recall_names, "multi_label": average_precision_names}[facts.task](facts.class_names)
    values: Mapping[str, Any] = record.get("metrics", {})
    intervals: Mapping[str, Any] = record.get("intervals", {})
    known = [
        (values[f"test/{name}"], name, class_name)
        for name, class_name in zip(names, facts.class_names, strict=True)
        if _is_number(values.get(f"test/{name}")) and intervals.get(f"test/{name}") != NOTHING_KNOWN
    ]
    if not known:
        return ""
    value, name, class_name = min(known)
    told = interval_in_words(name, intervals.get(f"test/{name}"))
    interval = f" (95 % interval {told})" if told else ""
    return f"It is weakest on {class_name}: {FINDS[facts.task]} {in_words(name, value)}{interval}."


def _of_confidence(network: Trained, record: Mapping[str, Any]) -> str:
    if network.facts.task != "single_label" or not _is_number(record.get("metrics", {}).get("test/ece")):
        return ""
    ece = 100 * record["metrics"]["test/ece"]
    found = (
        f"On the test images its confidence and its accuracy are {ece:.1f} points apart (expected calibration error)"
    )
    temperature = network.test_time.temperature
    if temperature == 1:
        return f"{found}; its probabilities were not calibrated."
    num_val = network.run["data"]["num_val"]
    return f"{found}, after a temperature of {temperature:.3g} that {num_val:,} validation images chose."


def in_words(name: str, value: float) -> str:
    """A metric: `98.61 %`, or four digits of what is no share."""
    return f"{100 * value:.2f} %" if is_percentage(name) else f"{value:.4g}"


def interval_in_words(name: str, bounds: Any) -> str:
    """`96.78 % to 99.40 %`; empty where none is known."""
    return f"{in_words(name, bounds[0])} to {in_words(name, bounds[1])}" if bounds else ""


def weights_of(run: Mapping[str, Any]) -> str | None:
    """The weights that a run began with; None of new ones."""
    told = (run.get("transfer") or {}).get("weights")
    return None if told in (None, "new") else str(told)


def _of_weights(run: Mapping[str, Any]) -> str:
    weights = weights_of(run)
    if weights is None:
        return ""
    return f"It began with other weights ({weights}): what those have learnt, and their licence, is in it."


def _of_skipped(record: Mapping[str, Any]) -> str:
    data = record.get("data", {})
    count, tested = data.get("num_skipped"), data.get("num_test_skipped", 0)
    return f"{count:,} files could not be read and were left out, {tested:,} of them of the test." if count else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and value == value
