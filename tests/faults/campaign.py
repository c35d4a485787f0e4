"""Faults > **campaign**: references first, then the planned injections, two at a time, each until it strikes."""

import json
import os
import random
import shutil
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from .case import Case, Lost, Reference, TooLate, newest_step
from .compare import result
from .inside import PLACES, count_places
from .kinds import Fault
from .processes import Hangs, import_everything
from .settings import Setting

LANES = 2  # injections at a time
MOST_TRIES = 10  # a moment after the run's end is drawn again
EVERY_FRESH = 10  # of so many injections, one has whole new interpreters

Plan = Sequence[tuple[int, Fault]]


@dataclass(frozen=True)
class Outcome:
    """What came of an injection; `lost` is empty where the run survived exactly."""

    number: int
    fault: str
    setting: str
    tries: int
    seconds: float
    lost: str


def run_campaign(plan: Plan, seed: int, directory: Path) -> list[Outcome]:
    """Every injection of the plan; `directory` keeps those that were lost."""
    import_everything()
    settings = {setting.name: setting for number, fault in plan for setting in [choose_setting(fault, number, seed)]}
    references = {name: make_reference(setting, directory / name) for name, setting in settings.items()}
    # Each lane takes the next injection's index from one pipe; no thread may exist where processes are forked.
    reader, writer = os.pipe()
    os.write(writer, b"".join(index.to_bytes(2) for index in range(len(plan))))
    os.close(writer)
    lanes = []
    for lane in range(LANES):
        sys.stdout.flush()
        if pid := os.fork():
            lanes.append(pid)
            continue
        try:
            work_off(plan, seed, references, reader, directory / f"lane{lane}.jsonl", directory)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in lanes]
    if any(codes):
        raise RuntimeError("a lane of the campaign broke off")
    lines = [line for file in sorted(directory.glob("lane*.jsonl")) for line in file.read_text().splitlines()]
    return sorted((Outcome(**json.loads(line)) for line in lines), key=lambda outcome: outcome.number)


def choose_setting(fault: Fault, number: int, seed: int) -> Setting:
    return random.Random(f"{seed} {number} setting").choice(fault.settings)


def make_reference(setting: Setting, directory: Path) -> Reference:
    """The uninterrupted run: what it left, how long it took, how often it passed the places where faults strike."""
    directory.mkdir()
    case = Case(setting, Reference(0.0, {}), random.Random(0), directory)
    case.start(None if setting.fresh else count_places(directory))
    begun = time.monotonic()
    if case.process.wait() != 0:
        raise RuntimeError(f"the uninterrupted run of '{setting.name}' failed:\n{case.process.said()}")
    seconds = time.monotonic() - begun
    case.clean.close()
    passes = {place: (directory / place).stat().st_size for place in PLACES if (directory / place).exists()}
    print(f"{setting.name}: {seconds:.1f} s, {', '.join(f'{count} × {place}' for place, count in passes.items())}")
    return Reference(seconds, result(case.run), passes, newest_step(case.run / "checkpoints"))


def work_off(
    plan: Plan, seed: int, references: dict[str, Reference], reader: int, results: Path, directory: Path
) -> None:
    """A lane: injections until none is left, each outcome written at once."""
    with results.open("w", encoding="utf-8") as file:
        while taken := os.read(reader, 2):
            number, fault = plan[int.from_bytes(taken)]
            outcome = inject(number, fault, seed, references, directory)
            file.write(json.dumps(asdict(outcome)) + "\n")
            file.flush()
            shown = f"LOST: {outcome.lost}" if outcome.lost else "survived exactly"
            print(f"{number:4}  {fault.name}, {outcome.setting}, {outcome.seconds:.1f} s: {shown}", flush=True)


def inject(number: int, fault: Fault, seed: int, references: dict[str, Reference], directory: Path) -> Outcome:
    """One injection, tried again as long as the fault comes too late; what was lost is kept in its directory."""
    setting, begun, lost = choose_setting(fault, number, seed), time.monotonic(), ""
    for attempt in range(MOST_TRIES):
        place = directory / f"{number}_{attempt}"
        place.mkdir()
        chance = random.Random(f"{seed} {number} {attempt}")
        case = Case(setting, references[setting.name], chance, place, fresh=number % EVERY_FRESH == 0)
        try:
            case.judge(fault.strike(case))
        except TooLate:
            lost = f"{MOST_TRIES} times too late"
        except (Lost, Hangs) as error:
            lost = f"{error} [moment {case.moment:.2f}, {place}]"
            break
        except Exception:
            lost = f"{traceback.format_exc()[-600:]} [{place}]"
            break
        else:
            lost = ""
            break
        finally:
            case.before_resume.close()
            case.clean.close()
            if not lost or "too late" in lost:
                shutil.rmtree(place)
    return Outcome(number, fault.name, setting.name, attempt + 1, round(time.monotonic() - begun, 1), lost)
