"""Notebook scripts > **execute** > notebooks with outputs: `make notebooks`, or `python -m notebooks 2 3` for some.

A notebook is written as NN_name.py, cells between `# %%` lines, and kept beside it as executed, NN_name.ipynb.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

try:
    import jupytext
    import nbformat
    from nbclient import NotebookClient
    from nbformat import NotebookNode
    from traitlets.config import Config
except ModuleNotFoundError as error:
    sys.exit(f"error: executing notebooks needs the package {error.name}: pip install -e '.[notebooks]'")

DIRECTORY = Path(__file__).parent
SCRIPTS = sorted(DIRECTORY.glob("[0-9][0-9]_*.py"))
SECONDS_PER_CELL = 3600  # a minute at most, on a core of its own


def read(script: Path) -> NotebookNode:
    """The notebook of a script, without outputs, whose cells are called alike each time."""
    notebook = jupytext.read(script)
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata.pop("cell_marker", None)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    return notebook


def execute(script: Path) -> NotebookNode:
    """The notebook of a script with its outputs, from a new kernel in the script's directory.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed; names it and its error.
    """
    notebook = read(script)
    resources = {"metadata": {"path": str(script.parent)}}
    with tempfile.TemporaryDirectory(prefix="leyden_kernel_") as sockets:  # files, which no other user can speak to
        config = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/socket"}})
        options = {"timeout": SECONDS_PER_CELL, "resources": resources, "record_timing": False, "config": config}
        NotebookClient(notebook, **options).execute()
    notebook.metadata.language_info = {"name": "python"}  # the kernel adds versions, which say nothing here
    join_streams(notebook)
    return notebook


def join_streams(notebook: NotebookNode) -> None:
    """Makes one piece of what a cell printed, which comes in as many as the kernel happened to send."""
    for cell in notebook.cells:
        joined: list[NotebookNode] = []
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = output.text.replace("\r\n", "\n")  # of a command, which believes itself on a terminal
            is_more = joined and output.output_type == joined[-1].output_type == "stream"
            if is_more and output.name == joined[-1].name:
                joined[-1].text += output.text
            else:
                joined.append(output)
        if joined:
            cell.outputs = joined


def main() -> int:
    """Executes the notebooks whose numbers are given, or all, and writes them beside their scripts."""
    parser = argparse.ArgumentParser(prog="python -m notebooks", description="Execute the notebooks, and keep them.")
    parser.add_argument("numbers", nargs="*", type=int, help="of the notebooks, as 2 3; without one: all")
    parser.add_argument("--into", type=Path, default=DIRECTORY, help="the directory to write them to")
    asked = parser.parse_args()
    known = {int(script.name[:2]): script for script in SCRIPTS}
    if unknown := set(asked.numbers) - set(known):
        parser.error(
            f"there is no notebook {', '.join(map(str, sorted(unknown)))}: they are {', '.join(map(str, known))}"
        )
    for number in asked.numbers or known:
        begin = time.monotonic()
        notebook = execute(known[number])
        target = asked.into / f"{known[number].stem}.ipynb"
        nbformat.write(notebook, target)
        print(f"{target.name}: {len(notebook.cells)} cells, {time.monotonic() - begin:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
