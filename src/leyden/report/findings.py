"""Effects > **findings** > page: sentences that follow from the numbers, and what one should not believe of them."""

import re
from collections import Counter
from collections.abc import Sequence

from scipy.stats import fisher_exact

from leyden.intervals import wilson
from leyden.report.collect import Collection
from leyden.report.curves import FEWEST_EPOCHS
from leyden.report.model import Factor, Importance, Metric, Power, Report, Response, Run, Setting, sure
from leyden.report.settings import NO_FACTORS, counted, key_of, repeats_in_words, resolution
from leyden.report.statistics import MOST_SEEDS, SIGNIFICANCE, difference, seeds_needed
from leyden.report.words import count, difference_in_words, in_words, level_in_words, p_in_words

STOPPED = "stopped by"  # the user: no failure
TO_COME = ("running", "waiting", "interrupted")  # the study's command goes on with them
MOST_NAMED = 3  # reasons in one sentence
UNFINISHED = {
    "failed": "failed", "unreadable": "cannot be read", "interrupted": "interrupted", "running": "still at work",
    "waiting": "not begun", "pruned": "ended early by the search", "unmeasured": "finished, but cannot be compared",
}  # fmt: skip
FIGURE = re.compile(r"(?<![\w./-])\d[\d.e+-]*(?!\.?[\w/])")  # no part of a file's name


def answer(report: Report) -> list[str]:
    """Three sentences: what is best and how sure, what mattered, what overfits."""
    noun = repeats_in_words((run["seed"], run["fold"], run["split_seed"]) for run in counted(report["runs"]))
    sentences = [_best(report["settings"], report["metric"], report["power"], noun)]
    if report["importance"] and report["importance"]["names"]:
        sentences.append(_what_mattered(report["importance"], report["metric"]))
    return [*sentences, *_overfitting(report["runs"])]


def _best(settings: Sequence[Setting], metric: Metric, power: Power | None, noun: str) -> str:
    best, share = settings[0], metric["is_share"]
    seeds = f"With {count(best['selection']['n'], noun)}"
    result = f"{metric['reported']} {in_words(best['reported'], share)}"
    if len(settings) == 1:
        name = "" if best["label"] == NO_FACTORS else f"{best['label']} reaches "
        return f"{seeds}, {name}{result}."
    head = f"{seeds}, {best['label']} is best on {metric['selection']}: {result}"
    second = settings[1]
    if power is None:
        few = best if best["selection"]["n"] == 1 else second
        return f"{head}; with one {noun} of {few['label']} nothing says whether that is noise."
    low, high = power["low"], power["high"]
    is_told = low is not None and high is not None and (low > 0 or high < 0)
    told = f"difference {difference_in_words(power['difference'], low, high, share)}"
    tied = [setting for setting in settings[1:] if setting["standing"] == "tied"]
    if second["standing"] != "tied":
        others = f"; but not distinguishable from {count(len(tied), 'other setting')}" if tied else ""
        return f"{head}; better than {second['label']} ({told}){others}."
    others = f" and from {count(len(tied) - 1, 'other setting')}" if len(tied) > 1 else ""
    if is_told and (power["difference"] < 0) == (metric["direction"] == "max"):
        return f"{head}; on test images {second['label']} does better ({told}), which is not what chooses."
    if is_told:
        assert second["p_value"] is not None
        chance = f"{p_in_words(second['p_value'])} for the best of {len(settings)} may be the luckiest"
        told = f"{told}, but {chance}"
    return f"{head}; not distinguishable from {second['label']} ({told}){others}."


def _what_mattered(importance: Importance, metric: Metric) -> str:
    named = [*zip(importance["names"], importance["shares"], strict=True)][:2]
    told = ", ".join(f"{_source(name)} {'explains ' if not place else ''}{share:.0%}" for place, (name, share)
                     in enumerate(named)).replace("%", " %")  # fmt: skip
    return f"Of the variance of {metric['selection']}, {told}."


def _source(name: str) -> str:
    return "chance (the seed)" if name == "seed" else name


def _overfitting(runs: Sequence[Run]) -> list[str]:
    told_of = counted(runs)
    judged = [run for run in told_of if run["is_judged"]]
    overfit = [run for run in judged if run["overfit_from"] is not None]
    rest = f"; {count(len(told_of) - len(judged), 'other')} cannot be judged" if len(judged) < len(told_of) else ""
    if not judged:
        return [f"Whether runs overfit is not told: they have fewer than {FEWEST_EPOCHS} epochs on record."]
    if not overfit:
        return [f"No run overfits{rest}."]
    first = min(run["overfit_from"] or 0 for run in overfit)
    how = "overfits" if len(overfit) == 1 else "overfit"
    told = f"{count(len(overfit), 'run').capitalize()} of {len(judged)} {how}, the earliest from epoch {first} on"
    return [f"{told}{rest}."]


def failures(runs: Sequence[Run]) -> list[str]:
    """What has not finished, and why."""
    sentences = []
    for status, how in UNFINISHED.items():
        found = [run for run in runs if run["status"] == status]
        told = _reasons([run["reason"] for run in found if run["reason"]])
        more = ["…"] if len(told) > MOST_NAMED else []
        if found:
            why = ": " + "; ".join([*told[:MOST_NAMED], *more]) if told else "."
            sentences.append(f"{count(len(found), 'run').capitalize()} of {len(runs)} {how}{why}")
    return sentences


def _reasons(reasons: Sequence[str]) -> list[str]:
    """Each once, the commonest first: those that differ in figures alone, as the gradient norms of NaNs, are one."""
    alike: dict[str, list[str]] = {}
    for reason in reasons:
        alike.setdefault(FIGURE.sub("", reason), []).append(reason)
    told = []
    for same in sorted(alike.values(), key=len, reverse=True):
        others = ", figures differ" if len(set(same)) > 1 else ""
        told.append(same[0] + (f" ({len(same)} of them{others})" if len(same) > 1 else ""))
    return told


def warnings(
    collection: Collection, factors: Sequence[Factor], settings: Sequence[Setting], responses: Sequence[Response]
) -> list[str]:
    """What makes the answer less sure than it sounds."""
    found = [_single_seeds(collection, settings), *_edges(factors, settings, responses), *_uneven(collection)]
    found += [_small_validation(collection, settings), _duplicates(collection, settings), _code(collection)]
    found += [_folds(collection)]
    return [sentence for sentence in found if sentence]


def _single_seeds(collection: Collection, settings: Sequence[Setting]) -> str | None:
    """Settings with one run, whose noise nothing tells."""
    single = [setting for setting in settings if setting["selection"]["n"] == 1]
    if not single:
        return None
    which = f"{len(single)} of {len(settings)} settings" if len(single) < len(settings) else "Each setting"
    has = "have" if 1 < len(single) < len(settings) else "has"
    coming = {key_of(run.factors) for run in collection.runs if run.status in TO_COME}
    is_asked_for = all(key_of(setting["factors"]) in coming for setting in single)
    advice = "more are asked for" if is_asked_for else "give seed=0,1,2"
    if any(collection.directory.glob("optuna.*")):  # a search would look for the luckiest seed
        advice = "train the best ones again in a study of their own, with seed=0,1,2"
    return f"{which} {has} one run only: its noise is unknown; {advice}."


def _edges(factors: Sequence[Factor], settings: Sequence[Setting], responses: Sequence[Response]) -> list[str]:
    """Best values that are the first or last of what was tried: a better one may lie beyond."""
    sentences = []
    best = settings[0]["factors"]
    for factor in factors:
        levels = factor["levels"]
        if factor["is_numeric"] and len(levels) > 2 and best.get(factor["name"]) in (levels[0], levels[-1]):
            level = best.get(factor["name"])
            if level == 0 and levels[0] == 0:
                continue  # nothing lies beyond none
            where = "smallest" if level == levels[0] else "largest"
            sentences.append(f"The best {factor['name']}, {level:g}, is the {where} tried: a better may lie beyond.")
    for response in (response for response in responses if response["by"]):
        beyond = [level_in_words(level) for level, edge, place, values in zip(
            response["levels"], response["at_edge"], response["best"], response["values"], strict=True
        ) if edge and len(values) > 2 and values[place] != 0]  # fmt: skip
        if beyond:
            where = f"{response['by']} {', '.join(beyond)}"
            sentences.append(f"With {where}, {response['factor']} is best at the edge of what was tried.")
    return sentences


def _uneven(collection: Collection) -> list[str]:
    """Levels whose runs failed more often than others', by Fisher's exact test: what is left is no fair sample."""
    runs = [run for run in collection.runs if run.status not in ("waiting", "running", "pruned")]
    lost = {id(run) for run in runs if run.status != "finished" and not (run.reason or "").startswith(STOPPED)}
    sentences = []
    for factor in collection.factors if lost else ():
        total = Counter(level_in_words(run.factors.get(factor)) for run in runs)
        failed = Counter(level_in_words(run.factors.get(factor)) for run in runs if id(run) in lost)
        worst = max(total, key=lambda level: failed[level] / total[level])
        others = len(lost) - failed[worst], len(runs) - total[worst]
        table = [[failed[worst], total[worst] - failed[worst]], [others[0], others[1] - others[0]]]
        if len(total) > 1 and fisher_exact(table, alternative="greater").pvalue < SIGNIFICANCE / len(total):
            sentences.append(
                f"Runs failed unevenly: {failed[worst]} of {total[worst]} with {factor}={worst}, {others[0]} of "
                f"{others[1]} of the others; what is left of it may be the lucky ones."
            )
    return sentences


def _small_validation(collection: Collection, settings: Sequence[Setting]) -> str | None:
    """An interval of the best validation accuracy over images that is wider than what is to be told apart."""
    num_images = collection.data.get("num_val")
    if not num_images or len(settings) < 2 or not collection.metric["selection"].endswith("accuracy"):
        return None
    if settings[1]["standing"] == "worse":
        return None
    first, second = (setting["selection"]["mean"] for setting in settings[:2])
    low, high = wilson(round(first * num_images), num_images)
    half, apart = (high - low) / 2, abs(first - second)
    if half <= apart:
        return None
    told_apart, width = (difference_in_words(value, None, None, True) for value in (apart, half))
    return (
        f"{num_images:,} validation images tell an accuracy only to ± {width} (95 %); the two best settings lie "
        f"{told_apart} apart there: which of them is chosen is mostly chance."
    )


def _duplicates(collection: Collection, settings: Sequence[Setting]) -> str | None:
    left_out = len(collection.finished) - sum(len(setting["runs"]) for setting in settings)
    if not left_out:
        return None
    how = "repeats" if left_out == 1 else "repeat"
    return f"{count(left_out, 'run').capitalize()} {how} another's setting and seed: the last of them counts."


def _code(collection: Collection) -> str | None:
    versions = {run.record.get("code") for run in collection.finished} - {None}
    if len(versions) < 2:
        return None
    return "The code of Leyden or of your own parts has changed between these runs: what differs may be that alone."


def _folds(collection: Collection) -> str | None:
    """No estimate of a variance over folds or splits is unbiased (Bengio & Grandvalet 2004; Nadeau & Bengio 2003)."""
    for noun, found in (
        ("Folds", {run.fold for run in collection.finished}),
        ("Splits", {run.split_seed for run in collection.finished}),
    ):
        if len(found) > 1:
            return f"{noun} learn from the same images in part: intervals over them are narrower than they should be."
    return None


def power(collection: Collection, settings: Sequence[Setting]) -> Power | None:
    """How far the two best settings lie apart, and how many seeds would show it."""
    if len(settings) < 2:
        return None
    reported, by_id = collection.metric["reported"], collection.by_id
    first, second = (
        {by_id[name].repeat: sure(by_id[name].figure(reported)) for name in setting["runs"]} for setting in settings[:2]
    )
    shared = [seed for seed in first if seed in second]
    is_paired = len(shared) > 1
    ours = [value for seed, value in first.items() if seed in shared or not is_paired]
    theirs = [second[seed] for seed in shared] if is_paired else [*second.values()]
    grain = resolution(collection.data, reported)
    found = difference(ours, theirs, is_paired=is_paired, resolution=grain)
    if found.p_value is None:
        return None
    seeds = seeds_needed(ours, theirs, is_paired=is_paired, resolution=grain)
    one, other, noun = settings[0]["label"], settings[1]["label"], repeats_in_words([*first, *second])
    if settings[1]["standing"] == "worse":
        told = f"{count(found.n, noun).capitalize()} told {one} from {other}."
    elif seeds is None:
        told = f"More than {MOST_SEEDS:,} {noun}s would be needed to tell {one} from {other}: treat them as equal."
    else:
        test = "a paired t-test" if is_paired else "Welch's t-test"
        told = (
            f"About {seeds:,} {noun}s would tell {one} from {other} with 80 % power by {test} of these two alone at "
            "5 %, if the difference is real; the marks, which look at all settings, ask for more."
        )
    return {
        "difference": found.mean, "low": found.low, "high": found.high, "is_paired": is_paired, "seeds": seeds,
        "sentence": told,
    }  # fmt: skip
