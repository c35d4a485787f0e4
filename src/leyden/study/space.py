"""Command line > **space** > search: Hydra's grammar of sweeps as the parameters of an Optuna search."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep, Sweep
from hydra.errors import HydraException

from leyden.study.storage import optuna

TAGS = {"log", "int"}

Distribution = (
    optuna.distributions.CategoricalDistribution
    | optuna.distributions.IntDistribution
    | optuna.distributions.FloatDistribution
)


@dataclass(frozen=True)
class Parameter:
    """A key that the search chooses values for; the values of a choice are the texts that one would type."""

    key: str
    distribution: Distribution

    def override(self, value: Any) -> str:
        """What one would type to give the key this value."""
        has_steps = isinstance(value, float) and self.distribution.step is not None  # type: ignore[union-attr]
        return f"{self.key}={f'{value:.12g}' if has_steps else value}"

    @property
    def ends(self) -> list[Any]:
        """Every value of a choice, the least and the greatest of a range or an interval."""
        if isinstance(self.distribution, optuna.distributions.CategoricalDistribution):
            return list(self.distribution.choices)
        return [self.distribution.low, self.distribution.high]

    @property
    def cells(self) -> list[Any] | None:
        """Every value there is, None where they cannot be counted."""
        distribution = self.distribution
        if isinstance(distribution, optuna.distributions.CategoricalDistribution):
            return list(distribution.choices)
        if isinstance(distribution, optuna.distributions.IntDistribution):
            return list(range(distribution.low, distribution.high + 1, distribution.step))
        if distribution.step is None:
            return None
        num_steps = round((distribution.high - distribution.low) / distribution.step)
        return [distribution.low + number * distribution.step for number in range(num_steps + 1)]


def parse_space(swept: Sequence[Override]) -> dict[str, Parameter]:
    """The parameter of each swept key.

    Raises:
        ValueError: nothing is swept, a key is swept twice, or a sweep is none that can be searched.
    """
    space: dict[str, Parameter] = {}
    for override in swept:
        key = override.get_key_element()
        if override.is_hydra_override() or override.is_delete():
            raise ValueError(
                f"{override.input_line}: a search chooses values of the config's keys alone: give one value"
            )
        if key in space:
            raise ValueError(f"{key} is given values twice: give it one range")
        space[key] = Parameter(key, _distribution(override))
    if not space:
        raise ValueError("nothing to search: give a key values, as in optimizer.lr='tag(log,interval(1e-4,1e-1))'")
    return space


def _distribution(override: Override) -> Distribution:
    sweep: Any = override._value
    tags = set(sweep.tags) if isinstance(sweep, Sweep) else set()
    if unknown := sorted(tags - TAGS):
        raise ValueError(f"{override.input_line}: unknown tag '{unknown[0]}': expected log or int")
    try:
        if isinstance(sweep, IntervalSweep):
            return _of_interval(sweep, tags)
        if isinstance(sweep, RangeSweep):
            return _of_range(sweep, tags)
        if tags:
            raise ValueError("log and int go with an interval or a range")
        choices = list(dict.fromkeys(override.sweep_string_iterator()))
        if not choices:
            raise ValueError("there is no value to choose")
        return optuna.distributions.CategoricalDistribution(choices)
    except (ValueError, HydraException) as error:
        raise ValueError(f"{override.input_line}: {error}") from error


def _of_interval(sweep: IntervalSweep, tags: set[str]) -> Distribution:
    assert sweep.start is not None
    assert sweep.end is not None
    low, high, is_log = sweep.start, sweep.end, "log" in tags
    _check_ends(low, high, is_log)
    if "int" not in tags and not (isinstance(low, int) and isinstance(high, int)):
        return optuna.distributions.FloatDistribution(low, high, log=is_log)
    if low != int(low) or high != int(high):
        raise ValueError("tag int needs whole numbers as ends")
    return optuna.distributions.IntDistribution(int(low), int(high), log=is_log)


def _of_range(sweep: RangeSweep, tags: set[str]) -> Distribution:
    values = sorted(sweep.range()) if sweep.step else []
    if not values:
        raise ValueError("the range is empty: its end is left out, as in Python's")
    low, high, step = (_rounded(number) for number in (values[0], values[-1], abs(sweep.step)))
    _check_ends(low, high, "log" in tags)
    if all(value == int(value) for value in values) and (isinstance(low, int) or "int" in tags):
        if "log" in tags and step != 1:
            raise ValueError("tag log needs a range with steps of 1")
        return optuna.distributions.IntDistribution(int(low), int(high), log="log" in tags, step=int(step))
    if tags:
        raise ValueError("tags log and int need a range of whole numbers: an interval may have any")
    return optuna.distributions.FloatDistribution(low, high, step=step)


def _rounded(number: float) -> float:
    """0.3 instead of what three steps of 0.1 add up to."""
    return float(f"{number:.12g}") if isinstance(number, float) else number


def _check_ends(low: float, high: float, is_log: bool) -> None:
    if low > high:
        raise ValueError(f"it begins at {low} and ends at {high}: give the smaller number first")
    if is_log and low <= 0:
        raise ValueError(f"tag log needs numbers above 0, not {low}")
