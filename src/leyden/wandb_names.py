"""Loggers > **names at W&B** > dashboard: what runs are logged under there, and whether this machine has a key."""

import netrc
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

HOST = "https://api.wandb.ai"
MACHINES = ("api.wandb.ai", "api.forge.coreweave.com")  # names of that one, under either of which a key may be kept

FACTORS = "factors"  # in the config of a study's run
PREDICTIONS = "predictions"  # a table
CONFUSION_MATRIX = "confusion_matrix"  # charts of W&B's own kinds, `wandb.plot`
RELIABILITY = "reliability"
PICTURES = "pictures"  # those of the run directory, `pictures/confusion_matrix`
ENDED = "ended"  # in the summary: when the attempt ended that is there whole
MOST_LETTERS = 128  # of the name or the group of a run
NOT_IN_A_FILTER = r"[=<>'\"\\\n]"  # W&B's language of filters has no escapes
STEP = "step"  # the axis of every curve: optimizer steps, where W&B's own counts what was logged


def plain_factors(factors: Mapping[str, Any]) -> dict[str, Any]:
    """A run's factors as its config at W&B has them below `factors`: `{"optimizer_lr": 0.01}` for `optimizer.lr`.

    W&B takes a dot in a key for a step into a dict, and the config itself cannot stand in for them: a factor such as
    `optimizer` is the choice of a file there, whose name the resolved settings no longer have.
    """
    return {plain_key(key): level for key, level in factors.items()}


def plain_key(factor: str) -> str:
    """The key of a factor below `factors`."""
    return re.sub(r"\W", "_", factor)


def group_of(study: Path, name: str) -> str:
    """The group of the runs of the study `name` in a directory: that above it tells those of one name apart."""
    return re.sub(NOT_IN_A_FILTER, "_", f"{study.resolve().parent.name} {name}")[-MOST_LETTERS:]


def run_id_of_a_sweep() -> str | None:
    """Under W&B's agent, the id by which it knows the run that it has begun: W&B takes no other from that process."""
    return os.environ.get("WANDB_RUN_ID") if os.environ.get("WANDB_SWEEP_ID") else None


def tidy_key() -> None:
    """Takes the end of a line from a key that was read from a file, as secrets are: W&B's client would refuse it."""
    if key := os.environ.get("WANDB_API_KEY"):
        os.environ["WANDB_API_KEY"] = key.strip()


def host() -> str:
    """The server that this machine talks to."""
    return os.environ.get("WANDB_BASE_URL", HOST)


def has_key() -> bool:
    """Whether W&B's client will find a key; without one it would ask at the terminal."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        kept = netrc.netrc(Path(os.environ.get("NETRC", "~/.netrc")).expanduser())
    except (OSError, RuntimeError, netrc.NetrcParseError):  # a user without a home, too
        return False
    own = urlparse(host()).netloc
    return any(kept.authenticators(machine) is not None for machine in (MACHINES if own in MACHINES else (own,)))


def check_key(instead: str = "") -> None:
    """Refuses to go on where there is no key; `instead` ends the sentence with what else can be done.

    Raises:
        ValueError: says how to give one.
    """
    tidy_key()
    if not has_key():
        raise ValueError(f"there is no key for {host()}: run `wandb login` or set WANDB_API_KEY{instead}")


def mode_for_this_machine() -> str:
    """Online where a key is present, in the environment or where `wandb login` keeps it; else offline."""
    asked = os.environ.get("WANDB_MODE")
    is_online = has_key() if not asked else asked in ("online", "run")
    return "online" if is_online else "offline"  # "disabled" and "dryrun", too: what is on disk hurts nobody


def place_of(address: str) -> tuple[str, str]:
    """Entity and project of a run's address, `https://wandb.ai/<entity>/<project>/runs/<id>`, or below another path."""
    *_, entity, project, _, _ = urlparse(address).path.strip("/").split("/")
    return unquote(entity), unquote(project)
