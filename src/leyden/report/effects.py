"""Settings > **effects** > page: what each factor does to the selection metric, alone, in pairs and of the whole.

Runs that differ by seed, fold or split alone make a setting; wherever means are taken over other factors, settings
count alike, so that more seeds do not weigh more. Shapes: R runs, S settings, F factors.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from leyden.report.model import Effect, Estimate, Factor, Importance, Interaction, Level, Response, exactly
from leyden.report.statistics import estimate, within

Array = NDArray[np.float64]
Places = NDArray[np.int64]
Runs = Sequence[Mapping[str, Level]]

MOST_LEVELS = 12  # numbers with more levels than this are shown in bins, names are left out
NUM_BINS = 8
NUM_STEPS = 16  # as finely as the forest tells numbers apart; the time it takes grows with it
NUM_TREES = 32
FEWEST_FOR_FOREST = 8  # runs; fewer do not tell one factor from another


class _Settings(NamedTuple):
    """Which level each setting has of each factor, [S, F] as places in `Factor.levels`, and its runs' values."""

    places: Places
    values: list[Array]

    @property
    def means(self) -> Array:
        return np.array([values.mean() for values in self.values])

    @property
    def counts(self) -> Places:
        return np.array([len(values) for values in self.values])

    @property
    def squares(self) -> Array:
        """Sums of squares about the settings' means, [S]."""
        return np.array([((values - values.mean()) ** 2).sum() for values in self.values])


class _Groups(NamedTuple):
    """A factor's levels that have runs, some joined into bins, and to which of them each setting belongs, [S]."""

    name: str
    levels: list[Level]
    members: Places


def effects(factors: Sequence[Factor], runs: Runs, values: Array, is_share: bool = False) -> list[Effect]:
    """Main effects: by factor and level, the mean over the settings of all other factors.

    The intervals tell the noise of seeds, not the spread over the other factors: a level's m settings of n_i runs have
    a mean of variance s² Σ(1/n_i) / m², where s² is the variance within settings, pooled over all that have two runs or
    more, and t has its degrees of freedom. Without such settings there are none. Numbers of many levels, as a search
    tries them, are joined into bins.
    """
    settings = _settings(factors, runs, values)
    means, counts = settings.means, settings.counts
    degrees = int((counts - 1).sum())
    variance = settings.squares.sum() / degrees if degrees else 0.0
    quantile = float(stats.t.ppf(0.975, degrees)) if degrees else 0.0
    found: list[Effect] = []
    for name, levels, members in _groups(factors, settings):
        num_settings = np.bincount(members)
        centres = np.bincount(members, means) / num_settings
        halves = quantile * np.sqrt(variance * np.bincount(members, 1 / counts)) / num_settings
        estimates: list[Estimate] = []
        for num_runs, centre, half in zip(np.bincount(members, counts), centres, halves, strict=True):
            bounds = within(float(centre - half), float(centre + half), is_share) if degrees else (None, None)
            estimates.append({"n": int(num_runs), "mean": float(centre), "low": bounds[0], "high": bounds[1]})
        found.append({"factor": name, "levels": levels, "estimates": estimates})
    return found


def interactions(factors: Sequence[Factor], runs: Runs, values: Array) -> list[Interaction]:
    """For each pair of factors and of their levels, the mean over the settings of all other factors."""
    settings = _settings(factors, runs, values)
    means = settings.means
    found: list[Interaction] = []
    for rows, columns in combinations(_groups(factors, settings), 2):
        shape = len(rows.levels), len(columns.levels)
        cells = rows.members * shape[1] + columns.members
        num_settings = np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
        sums = np.bincount(cells, means, shape[0] * shape[1]).reshape(shape)
        found.append(
            {
                "rows": rows.name,
                "columns": columns.name,
                "row_levels": rows.levels,
                "column_levels": columns.levels,
                "means": [
                    [float(total / count) if count else None for total, count in zip(*row, strict=True)]
                    for row in zip(sums, num_settings, strict=True)
                ],
            }
        )
    return found


def importance(factors: Sequence[Factor], runs: Runs, values: Array) -> Importance | None:
    """The share of the metric's variance that each factor explains; None where it, or all factors, are constant.

    Where every combination of levels has runs, the functional ANOVA (Hooker 2007) of the settings' means, which is
    exact. Else that of a random forest (Hutter et al. 2014), of which no pairs are given: what was not tried, a forest
    guesses.
    """
    settings = _settings(factors, runs, values)
    varying = [place for place in range(len(factors)) if len(np.unique(settings.places[:, place])) > 1]
    if not varying or np.ptp(values) <= 1e-12 * np.abs(values).max():
        return None
    names = [factors[place]["name"] for place in varying]
    # levels without runs do not count
    places = np.stack([np.unique(settings.places[:, place], return_inverse=True)[1] for place in varying], axis=1)
    if len(places) == np.prod(places.max(0) + 1.0):
        return _of_factorial(names, places, settings)
    return _of_forest([factors[place] for place in varying], settings._replace(places=settings.places[:, varying]))


def _of_factorial(names: Sequence[str], places: Places, settings: _Settings) -> Importance:
    table = np.empty(places.max(0) + 1)
    table[tuple(places.T)] = settings.means
    of_seeds = float((settings.squares / settings.counts).mean())
    between, axes = float(table.var()), range(table.ndim)
    total = between + of_seeds
    mains = [float(table.mean(tuple(set(axes) - {axis})).var()) for axis in axes]
    shares = dict(zip(names, mains, strict=True))
    for first, second in combinations(axes, 2):
        both = float(table.mean(tuple(set(axes) - {first, second})).var())
        shares[f"{names[first]} × {names[second]}"] = both - mains[first] - mains[second]
    if table.ndim > 2:
        shares["higher orders"] = between - sum(shares.values())
    method = "Exact functional ANOVA of the settings' means, of which every combination was run; "
    if (settings.counts > 1).any():
        shares["seed"] = of_seeds
        method += "the seed's share is the variance within settings; the fewer seeds, the more of it the others hold."
    else:
        if len(names) == 1:
            return _largest_first("Not told: with one run of each setting, nothing tells the factor from chance.", {})
        method += "with one run each, the seed's share is hidden in the others, most of all in the interactions."
    return _largest_first(method, {name: max(0.0, share / total) for name, share in shares.items()})


def _of_forest(factors: Sequence[Factor], settings: _Settings) -> Importance:
    num_runs = int(settings.counts.sum())
    if num_runs < FEWEST_FOR_FOREST:
        return _largest_first(f"Not told: not every combination was run, and {num_runs} runs are too few.", {})
    try:
        import optuna
        import sklearn  # noqa: F401  Optuna's forest is scikit-learn's
    except ImportError as error:
        return _largest_first(f"Not told: not every combination was run, which takes {error.name}.", {})
    columns = {factor["name"]: _column(factor, settings, place) for place, factor in enumerate(factors)}
    # not IntDistribution, of which Optuna lets the first and the last number count half as much as the others
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(-0.5, max(column) + 0.5) for name, column in columns.items()
    }
    trials = [
        optuna.trial.create_trial(
            params={name: column[setting] for name, column in columns.items()}, distributions=distributions, value=value
        )
        for setting, values in enumerate(settings.values)
        for value in values
    ]
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # that a study was created is of no interest
    try:
        study = optuna.create_study()
        study.add_trials(trials)
        evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=NUM_TREES, seed=0)
        shares = {name: float(share) for name, share in evaluator.evaluate(study).items()}
    finally:
        optuna.logging.set_verbosity(verbosity)
    shares["interactions and seed"] = max(0.0, 1 - sum(shares.values()))
    method = "Functional ANOVA of a random forest (Optuna's), for not every combination was run: an approximation."
    return _largest_first(method, shares)


def _column(factor: Factor, settings: _Settings, place: int) -> list[int]:
    """A factor as the forest sees it, by setting: whole numbers from 0, which it takes to be equally likely.

    They are ranks, so that what was tried counts as often as it was tried: no scale need be guessed. Numbers of many
    levels go by some ranks together. Names go in the order of their means, where one split finds the best of all
    partitions (Fisher 1958).
    """
    places = np.unique(settings.places[:, place], return_inverse=True)[1]
    ranks = np.arange(places.max() + 1)
    if not factor["is_numeric"]:
        ranks = np.argsort(np.argsort(np.bincount(places, settings.means) / np.bincount(places)))
    elif len(ranks) > NUM_STEPS:
        ranks = ranks * NUM_STEPS // len(ranks)
    return ranks[places].tolist()


def _largest_first(method: str, shares: Mapping[str, float]) -> Importance:
    names = sorted(shares, key=lambda name: -shares[name])
    return {"method": method, "names": names, "shares": [shares[name] for name in names]}


def responses(
    factors: Sequence[Factor],
    runs: Runs,
    values: Array,
    direction: Literal["max", "min"],
    resolution: float = 0.0,
    is_share: bool = False,
) -> list[Response]:
    """How the metric answers to each number of three levels or more, all other factors at their best.

    There is a curve for each level of the optimizer if it varies, else of the named factor of most levels, else one.
    """
    settings = _settings(factors, runs, values)
    estimates = [estimate(values, resolution, is_share) for values in settings.values]
    by = _most_telling(factors, settings)
    sign = 1 if direction == "max" else -1
    found: list[Response] = []
    for place, factor in enumerate(factors):
        if not factor["is_numeric"] or len(np.unique(settings.places[:, place])) < 3:
            continue
        best: dict[tuple[int, int], Estimate] = {}  # by curve and point
        for setting, current in enumerate(estimates):
            key = (0 if by is None else int(settings.places[setting, by]), int(settings.places[setting, place]))
            if key not in best or sign * current["mean"] > sign * best[key]["mean"]:
                best[key] = current
        curves = sorted({curve for curve, _ in best})
        points = [sorted(point for other, point in best if other == curve) for curve in curves]
        chosen = [
            _best_place([sign * best[curve, point]["mean"] for point in line])
            for curve, line in zip(curves, points, strict=True)
        ]
        found.append(
            {
                "factor": factor["name"],
                "by": None if by is None else factors[by]["name"],
                "levels": [None] if by is None else [factors[by]["levels"][curve] for curve in curves],
                "values": [[_number(factor["levels"][point]) for point in line] for line in points],
                "estimates": [
                    [best[curve, point] for point in line] for curve, line in zip(curves, points, strict=True)
                ],
                "best": chosen,
                "at_edge": [at in (0, len(line) - 1) for at, line in zip(chosen, points, strict=True)],
            }
        )
    return found


def _most_telling(factors: Sequence[Factor], settings: _Settings) -> int | None:
    """The place of the factor whose levels have a curve each."""
    counts = {
        place: len(np.unique(settings.places[:, place]))
        for place, factor in enumerate(factors)
        if not factor["is_numeric"]
    }
    fit = {place: count for place, count in counts.items() if 1 < count <= MOST_LEVELS}
    return max(fit, key=lambda place: (factors[place]["name"] == "optimizer", fit[place]), default=None)


def _best_place(values: Sequence[float]) -> int:
    """Where a curve is highest; of equals, the one farthest from the edges, for nothing then says to look beyond."""
    ties = [place for place, value in enumerate(values) if value == max(values)]
    return max(ties, key=lambda place: min(place, len(values) - 1 - place))


def _number(level: Level) -> float:
    assert isinstance(level, (int, float)), level
    return float(level)


def _settings(factors: Sequence[Factor], runs: Runs, values: Array) -> _Settings:
    assert len(runs) == len(values) > 0
    lookups = [(factor["name"], places_of(factor["levels"])) for factor in factors]
    places = np.array([[lookup[exactly(run[name])] for name, lookup in lookups] for run in runs], np.int64)
    if not factors:
        return _Settings(places, [values])
    order = np.lexsort(places.T[::-1])
    changes = np.flatnonzero((np.diff(places[order], axis=0) != 0).any(1)) + 1
    return _Settings(places[order][np.r_[0, changes]], np.split(values[order], changes))


def places_of(levels: Sequence[Level]) -> dict[tuple[bool, Level], int]:
    """Where each level stands."""
    return {exactly(level): place for place, level in enumerate(levels)}


def _groups(factors: Sequence[Factor], settings: _Settings) -> Iterable[_Groups]:
    """The factors of two levels or more that have runs, and of no more than can be shown."""
    for place, factor in enumerate(factors):
        present, members = np.unique(settings.places[:, place], return_inverse=True)
        levels = [factor["levels"][level] for level in present]
        if len(levels) > MOST_LEVELS:
            if not factor["is_numeric"]:
                continue
            levels, members = _bins([_number(level) for level in levels], members)
        if len(levels) > 1:
            yield _Groups(factor["name"], levels, members)


def _bins(numbers: Sequence[float], members: Places) -> tuple[list[Level], Places]:
    """Joins numbers, which are in order, into bins of about as many settings each, named by their range."""
    before = np.cumsum(np.bincount(members)) - np.bincount(members)  # settings below each number
    bins = np.unique(before * NUM_BINS // len(members), return_inverse=True)[1]
    labels: list[Level] = []
    for index in range(bins[-1] + 1):
        inside = np.flatnonzero(bins == index)
        low, high = numbers[inside[0]], numbers[inside[-1]]
        labels.append(f"{low:.3g}" if low == high else f"{low:.3g}–{high:.3g}")
    return labels, bins[members]
