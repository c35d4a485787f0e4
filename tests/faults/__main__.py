"""Faults > **the campaign**: `make faults`, or `python -m tests.faults --injections 210 --seed 0 --write`.

Prints a line for each injection that was lost, with the directory in which everything was kept, and then the table.
"""

import argparse
import os
import platform
import random
import re
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path

from . import ROOT
from .campaign import Outcome, run_campaign
from .kinds import FAULTS, Fault

PAGE = ROOT / "docs" / "reliability.md"


def main() -> int:
    """Runs a campaign; the exit code is 1 when anything was lost."""
    options = parse()
    begun = time.monotonic()
    faults = [fault for fault in FAULTS if (fault.quick or not options.quick) and re.search(options.only, fault.name)]
    directory = Path(tempfile.mkdtemp(prefix="leyden_faults_"))
    outcomes = run_campaign(make_plan(faults, options), options.seed, directory)
    lost = [outcome for outcome in outcomes if outcome.lost]
    table = tabulate(faults, outcomes)
    print(f"\n{table}\n\n{len(outcomes)} injections, {len(lost)} lost, {time.monotonic() - begun:.0f} s")
    if lost:
        print(f"what was lost lies in {directory}")
    else:
        shutil.rmtree(directory)
    if options.write:
        count = f"{len(outcomes)} injections"
        write_page("campaign", "tests.faults", count, table, time.monotonic() - begun)
    return 1 if lost else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--injections", type=int, default=210, help="how many (210)")
    parser.add_argument("--seed", type=int, default=0, help="decides faults, settings and moments (0)")
    parser.add_argument("--only", default="", help="a regular expression: faults whose name has it")
    parser.add_argument("--number", type=int, help="this one injection of the campaign alone, as its line names it")
    parser.add_argument("--quick", action="store_true", help="one of each quick fault: what the fast tests run")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    return parser.parse_args()


def make_plan(faults: list[Fault], options: argparse.Namespace) -> list[tuple[int, Fault]]:
    """The numbered injections: every fault once, then by their shares."""
    chance = random.Random(options.seed)
    plan = list(faults)
    if not options.quick:
        more = max(0, options.injections - len(faults))
        plan += chance.choices(faults, [fault.share for fault in faults], k=more)
        chance.shuffle(plan)
        plan = plan[: options.injections]
    numbered = list(enumerate(plan))
    return numbered if options.number is None else [numbered[options.number]]


def tabulate(faults: list[Fault], outcomes: list[Outcome]) -> str:
    """One line per fault, in Markdown."""
    lines = ["| fault | injected | survived exactly | lost |", "| --- | ---: | ---: | ---: |"]
    for name in [*(fault.name for fault in faults), None]:
        mine = [outcome for outcome in outcomes if name in (outcome.fault, None)]
        lost = sum(bool(outcome.lost) for outcome in mine)
        lines.append(f"| {name or '**all**'} | {len(mine)} | {len(mine) - lost} | {lost} |")
    return "\n".join(lines)


def write_page(mark: str, command: str, count: str, table: str, seconds: float) -> None:
    """Puts a table and what made it between the marks of docs/reliability.md."""
    import torch

    line = shlex.join(["python", "-m", command, *sys.argv[1:]])
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
    text = f"`{line}`: {count} in {seconds / 60:.0f} minutes on {machine}, PyTorch {torch.__version__}.\n\n{table}\n"
    whole = PAGE.read_text(encoding="utf-8")
    marked = re.compile(rf"(?<=<!-- {mark} -->\n).*(?=<!-- end of {mark} -->)", re.DOTALL)
    PAGE.write_text(marked.sub(lambda match: text, whole), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
