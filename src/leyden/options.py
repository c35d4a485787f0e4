"""**Command line** > options > the commands about a run: words `key=value`, as a command takes them.

A command's options are the fields of a frozen dataclass: its docstring is the help, the help of a field that of a key.
"""

import json
import re
import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING, Field, field, fields
from pathlib import Path
from typing import Any, TypeVar

from leyden.config import suggest

T = TypeVar("T")

NULL = "null"
BOOLS = {"true": True, "false": False}
# Ends of keys whose values may be paths.
PLACES = ("root", "directory", "file", "path", "index_directory", "cache_directory")
KINDS_IN_WORDS = {int: "a whole number", float: "a number"}


def option(help: str, default: Any = MISSING) -> Any:
    """A field of a command's options; without a default it must be given."""
    return field(default=default, metadata={"help": help})


def with_absolute_path(word: str) -> str:
    """The same word `key=value` for another working directory: a path that exists becomes absolute."""
    key, _, value = word.partition("=")
    path = Path(value).expanduser()
    if key.split(".")[-1] not in PLACES or not value or not path.exists():
        return word
    whole = str(path.absolute())
    return f"{key}={json.dumps(whole, ensure_ascii=False) if re.search(r'[^A-Za-z0-9_/.-]', whole) else whole}"


def parse(kind: type[T], arguments: Sequence[str], also: Sequence[str] = ()) -> tuple[T, list[str]]:
    """The options that words `key=value` give, and the words for config groups `also` (`data=…`, `data.root=…`).

    Raises:
        ValueError: a word is no such pair, its key is not known, its value of another kind, or one is missing.
    """
    hints = typing.get_type_hints(kind)
    known: dict[str, Field[Any]] = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    given: dict[str, Any] = {}
    others: list[str] = []
    for word in arguments:
        key, equals, value = word.partition("=")
        if not equals:
            first = next(iter(known))
            raise ValueError(f"{word}: expected key=value, as in {first}=…, with the keys {', '.join(known)}")
        if key.split(".")[0] in also:
            others.append(word)
        elif key in known:
            given[key] = _value(key, value, hints[key])
        elif key != "debug":  # which is the command line's own
            raise ValueError(f"unknown key '{key}' ({word}): {suggest(key, [*known, *also])}")
    for name, item in known.items():
        if name not in given and item.default is MISSING:
            raise ValueError(f"{name} is missing: give {name}=…, {item.metadata['help']}")
    return kind(**given), others


def help_of(kind: type, command: str, also: str = "") -> str:
    """What `--help` prints: what the command does, and its keys; `also` tells of more."""
    must: list[str] = []
    may: list[str] = []
    for item in fields(kind):
        is_needed = item.default is MISSING
        default = "" if is_needed else f" (default: {_words(item.default)})"
        (must if is_needed else may).append(f"  {item.name:15} {item.metadata['help']}{default}")
    usage = " ".join([f"{item.name}=…" for item in fields(kind) if item.default is MISSING])
    lines = [kind.__doc__ or "", "", f"usage: leyden {command} {usage} [key=value …]", "", "keys:", *must, *may]
    return "\n".join([*lines, *(["", also] if also else [])])


def _words(value: Any) -> str:
    if value is None:
        return NULL
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(key: str, value: str, hint: Any) -> Any:
    """A value of the kind that a field's annotation names, of which `X | None` takes null too."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if value == NULL and types.NoneType in kinds:
        return None
    kind = next(kind for kind in kinds if kind is not types.NoneType)
    if typing.get_origin(kind) is typing.Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise ValueError(f"{key}={value}: {suggest(value, choices)}")
        return value
    if kind is bool:
        if value not in BOOLS:
            raise ValueError(f"{key}={value}: expected true or false")
        return BOOLS[value]
    if not value:
        raise ValueError(f"{key}= has no value: give one{' or null' if types.NoneType in kinds else ''}")
    try:
        return Path(value).expanduser() if kind is Path else kind(value)
    except ValueError as error:
        raise ValueError(f"{key}={value}: expected {KINDS_IN_WORDS.get(kind, kind.__name__)}") from error
