"""Command line > **errors**: turns what went wrong into one sentence for the person at the keyboard."""

import contextlib
import errno
import json
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from leyden.check import GROUPS
from leyden.config import CONFIG_DIRECTORY, Config, compose, given_directories, leaves, own_directories, suggest

_typed_in: Path | None = None  # where the command was typed; None: where work goes on

EXIT_CODE_WHEN_ASKED = 143  # as the shell and schedulers have it of a process that ended on SIGTERM


class Interrupted(BaseException):
    """A signal asked the run in `directory` to end, which is None where none had begun yet.

    Not an Exception, as little as KeyboardInterrupt is one: no library is to take it for an error that it can mend.
    """

    def __init__(self, number: int, directory: Path | None = None, is_saved: bool = False) -> None:
        super().__init__(number)
        self.number, self.directory, self.is_saved = number, directory, is_saved
        self.exit_code = 130 if number == signal.SIGINT else EXIT_CODE_WHEN_ASKED

    def __str__(self) -> str:
        name = signal.Signals(self.number).name
        if self.directory is None:
            return f"stopped by {name}: nothing is lost, give the same line again"
        go_on = f"{command('leyden')} resume {shlex.quote(str(self.directory))}"
        if not self.is_saved:
            return f"stopped by {name}, no state is saved; begin again with: {go_on}"
        return f"stopped by {name}, the state is saved; go on with: {go_on}"


@contextlib.contextmanager
def typed_here() -> Iterator[None]:
    """Within this, what is told is told for the directory that is the working one now, wherever work goes on."""
    global _typed_in
    _typed_in = Path.cwd()
    try:
        yield
    finally:
        _typed_in = None


def shown(path: Path) -> str:
    """A path as one may paste it where the command was typed."""
    return os.path.relpath(path, _typed_in)


def command(program: str) -> str:
    """How a program of this environment is called where the command was typed: by its name if the shell finds it."""
    if shutil.which(program):
        return program
    path, here = Path(sys.executable).with_name(program), _typed_in or Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def explain(error: BaseException, arguments: Sequence[str] = ()) -> str:
    """One line that says what was wrong, where, and what to do; `arguments` are those of the command line."""
    return printable(_explain(error, arguments))


def _explain(error: BaseException, arguments: Sequence[str]) -> str:
    part = ""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        found = re.search(r"full_key: (\S+)", str(error))
        part, error = found[1] + ": " if found else part, error.__cause__
    if isinstance(error, HydraException | OmegaConfBaseException):
        return _explain_composition(error, arguments)
    if isinstance(error, ImportError):
        return f"{' '.join(str(error).split())}: install it with pip, or choose something that does not need it"
    text = " ".join(str(error).split())
    if text.startswith("Config group override must be a string or a list"):  # Hydra does not name it
        nulls = " or ".join(word for word in arguments if word.endswith("=null"))
        return f"{nulls}: a group cannot be null: name one of its options, or leave it out"
    if match := re.match(r"(\S+) does not have a deterministic implementation", text):
        return f"deterministic=true: {match[1]} has no such implementation here: choose another part, or false"
    if isinstance(error, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        said = text[:200] or "MemoryError"
        return f"memory ran out ({said}): lower batch_size, raising trainer.accumulate_grad_batches in its place"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}the disk is full: free some space, or give another place (runs_dir=…; output=… of results)"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}: is it the right place, and may you write there?"
    if isinstance(error, ValueError | ArithmeticError | OSError | Interrupted) and text:
        return text
    told = f"{part}{type(error).__name__}: {text}" if text else f"{part}{type(error).__name__}"
    return f"{told} (debug=true shows where)"


def _explain_composition(error: Exception, arguments: Sequence[str]) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else None
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = str(error.missing_cfg_file).rpartition("/")
        if group.startswith("experiment/"):
            plain = group.removeprefix("experiment/")
            return f"{group}={option}: in a recipe that is `- override /{plain}: {option}`"
        shown = f"{group}={option}" if group else option
        return f"{shown}: there is no such file in conf/{group}: {suggest(option, list(error.options or []))}"
    if match := re.match(r"Ambiguous value for argument '([^']+)'", lines[0]):
        return f"{match[1]}: several values make a study, `leyden train -m`; a list is written key=[1,2]"
    if isinstance(error, OverrideParseException) and error.override.rstrip().endswith(","):
        return f"cannot read '{error.override}': values stand between commas, without spaces and without one at the end"
    if isinstance(error, OverrideParseException) and "=" in error.override:
        key, _, value = error.override.partition("=")
        quoted = f"\"{key}='{value}'\""
        return f"cannot read '{error.override}' on the command line: give the value quotes of its own, {quoted}"
    if isinstance(error, OverrideParseException):
        return f"cannot read '{error.override}' on the command line: expected key=value or group=option"
    if match := re.match(r"Could not override '([^']+)'", lines[0]):
        return f"unknown key '{match[1]}' (on the command line): {_nearest(match[1], arguments)}"
    if told := _explain_recipe(" ".join(lines), arguments):
        return told
    if match := re.match(r"In '([^']+)': .* raised while composing config", lines[0]):
        file = _file_of(match[1], arguments)
        why = (lines[1:] or lines)[0]
        if unknown := re.match(r"Key '([^']+)' not in", why):
            return f"unknown key '{unknown[1]}' (file {file}): {suggest(unknown[1], root_keys())}"
        return f"{why} (file {file})"
    if cause is not None and cause.full_key:
        given = re.match(r"Error merging override (.*)", lines[0])
        return f"{given[1] if given else cause.full_key}: {str(cause).splitlines()[0]}"
    if isinstance(error, OmegaConfBaseException) and error.full_key:
        return f"{error.full_key}: {lines[0]}"
    return " ".join(lines)


def _explain_recipe(line: str, arguments: Sequence[str]) -> str | None:
    """What is wrong with the defaults of a recipe, of which Hydra speaks in its own terms; None where it is no such."""
    if match := re.match(r"In '(experiment/[^']+)': Could not override '[^']*@experiment[.']", line):
        return f"{_file_of(match[1], arguments)}: the first line of a recipe is `# @package _global_`"
    if match := re.match(r"In '(experiment/[^']+)': Could not override '([^']+)'\. No match", line):
        return f"{_file_of(match[1], arguments)}: there is no group '{match[2]}': {suggest(match[2], root_keys())}"
    too_late = r"In (experiment/\S+): Override .* is defined before 'experiment/([^@']+)[^:]*: (.+)'"
    if match := re.match(too_late, line):
        return f"{_file_of(match[1], arguments)}: write `- override /{match[2]}: {match[3]}`"
    return None


def _file_of(option: str, arguments: Sequence[str]) -> Path:
    """The file of an option such as experiment/digits, ours or the user's own."""
    files = [place / f"{option}.yaml" for place in (CONFIG_DIRECTORY, *own_directories(arguments))]
    return next((path for path in files if path.is_file()), files[0])


def _nearest(path: str, arguments: Sequence[str]) -> str:
    """The key that was probably meant, among those that stand beside it in the config without this override."""
    parent, _, key = path.rpartition(".")
    if parent.startswith("hydra"):
        return f"+{path}=… gives an argument that the file does not list"
    if not parent:
        inner = [name for name, _ in leaves(_compose_without(path, arguments)) if name.endswith(f".{key}")]
        return f"did you mean '{inner[0]}'?" if inner else suggest(key, root_keys())
    node: object = _compose_without(path, arguments)
    if not node:
        return "expected a key of the config"
    for name in parent.split("."):
        if not isinstance(node, DictConfig) or name not in node:
            siblings = [str(item) for item in node] if isinstance(node, DictConfig) else []
            return f"there is no '{name}': {suggest(name, siblings)}"
        node = node[name]
    if not isinstance(node, DictConfig):
        return f"{parent} has no keys"
    keys = [str(item) for item in node if not str(item).startswith("_")]
    known = f"expected one of {', '.join(sorted(keys))}" if keys else "there are none"
    return suggest(key, keys, f"{known}, or +{path}=… for an argument that the file does not list")


def _compose_without(path: str, arguments: Sequence[str]) -> DictConfig:
    """The config of the same command line without what sets `path`; where more is wrong there, that of its choices."""
    words = [word for word in arguments if "=" in word and not word.startswith("-") and word.split("=")[0] != path]
    if places := [f"file://{Path(place).resolve()}" for place in given_directories(arguments)]:
        words.append(f"hydra.searchpath={json.dumps(places, ensure_ascii=False)}")
    choices = [word for word in words if word.split("=")[0] in (*GROUPS, "experiment", "hydra.searchpath")]
    for tried in (words, choices):
        with contextlib.suppress(HydraException, OmegaConfBaseException):
            overrides = OverridesParser.create().parse_overrides(tried)
            kept = [word for word, override in zip(tried, overrides, strict=True) if not override.is_sweep_override()]
            return compose(kept)
    return OmegaConf.create()


def root_keys() -> list[str]:
    """What may stand at the root of the config or be chosen there."""
    return [item.name for item in fields(Config)] + ["experiment"]


def why_unreadable(error: Exception) -> str:
    """Why an image could not be read, in words that do not repeat its path."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        return "it is no image of a known format"
    if isinstance(error, Image.DecompressionBombError):  # Pillow speaks of an attack
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"its head announces more pixels than the {limit:,} that memory is meant to hold"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def printable(text: str) -> str:
    """Text without what UTF-8 has no letters for: bytes of a file's name that are no UTF-8 come out as \\udc…"""
    return text.encode("utf-8", "backslashreplace").decode()
