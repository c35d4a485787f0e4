"""Options > **card** > README.md, CITATION: writes those of a run; of an export, the card that is in it."""

from pathlib import Path

from leyden.card.options import Options
from leyden.card.write import card_of, citation_of
from leyden.export.opened import Opened
from leyden.run import is_writable, write_atomically
from leyden.trained import Trained, open_network


def card(asked: Options, words: list[str]) -> None:
    """`leyden card run=…`: README.md and CITATION.

    Raises:
        ValueError: another text lies where one of them is to be, which somebody may have written.
    """
    network = open_network(asked.run, asked.checkpoint, accelerator="cpu")
    directory = asked.output or _place(network)
    directory.mkdir(parents=True, exist_ok=True)
    told = network.card if isinstance(network, Opened) else card_of(network)
    texts = {directory / name: text for name, text in {"README.md": told, "CITATION": citation_of(network)}.items()}
    for path, text in texts.items():
        if path.is_file() and path.read_text(encoding="utf-8", errors="replace") != text:
            raise ValueError(f"{path} holds other text, which may be yours: move it away, or give another output=…")
    for path, text in texts.items():
        write_atomically(path, text)
        print(path)


def _place(network: Trained | Opened) -> Path:
    """`card` in the run's directory, or here where that is none, or may not be written."""
    directory = network.directory if isinstance(network, Trained) else network.path
    is_open = isinstance(network, Trained) and is_writable(directory)
    return (directory if is_open else Path()) / "card"
