"""Effects > **verdict** > page: what follows from the numbers, by one rule for all claims.

A contrast predicts that an effect lies above a bound, or below it. Its 95 % interval lies wholly where it was
predicted: *supported*; wholly on the other side: *not supported here*; else, with the bound inside: *mixed*. A claim is
supported if all its contrasts are, not supported here if all are that, and mixed otherwise.
"""

from collections.abc import Sequence
from typing import Literal

from leyden.lesson.model import Verdict
from leyden.report.model import Estimate

Side = Literal["above", "below"]

SUPPORTED: Verdict = "supported"
REFUTED: Verdict = "not supported here"
MIXED: Verdict = "mixed"

RULE = (
    "Each contrast predicts that an effect lies above a bound, or below it. If its 95 % interval lies wholly there, it "
    "is supported; if wholly on the other side, it is not supported here; if the bound is inside, it is mixed. A claim "
    "is supported if all its contrasts are, not supported here if all are that, and mixed otherwise: some of it holds "
    "and some does not, or the runs are too few to say."
)


def verdict_of_effect(estimate: Estimate, side: Side, bound: float) -> Verdict | None:
    """What an effect says of its prediction; None where there is no interval, as of one repeat.

    An interval that ends at the bound itself tells neither way.
    """
    low, high = estimate["low"], estimate["high"]
    if low is None or high is None:
        return None
    if side == "below":
        low, high, bound = -high, -low, -bound
    if low > bound:
        return SUPPORTED
    return REFUTED if high < bound else MIXED


def verdict_of_claim(verdicts: Sequence[Verdict | None]) -> Verdict | None:
    """What the contrasts of a claim say together; None while any of them is not known."""
    assert verdicts, "a claim without a contrast"
    if None in verdicts:
        return None
    return verdicts[0] if len(set(verdicts)) == 1 else MIXED
