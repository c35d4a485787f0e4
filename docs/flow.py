"""**The flow, drawn**: which part of Leyden imports which, a Mermaid chart for README.md from the imports themselves.

`python docs/flow.py` writes it between its marks there. A part is a line of PARTS, from the entry down; what two parts
have to do with each other is read from the code, and an arrow that others already imply is left out.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "leyden"
README = ROOT / "README.md"
MARKS = "<!-- flow -->", "<!-- /flow -->"
PARTS = {
    "commands": ("__main__", "command_line", "composition"),
    "lesson, quiz": ("lesson", "quiz"),
    "after training": ("trained", "evaluate", "predict", "serve", "explain", "export", "card", "soup"),
    "before training": ("doctor", "find", "profile", "new"),
    "studies, reports, dashboards": ("study", "report", "live", "dashboard", "sync"),
    "training": ("train", "build", "ranks", "resume", "summary", "preview", "rehearsal", "transfer_table"),
    "beside the steps": ("callbacks", "loggers", "histograms"),
    "pictures, tables": ("draw", "examples", "figures", "pages", "outcomes", "predictions"),
    "training step": ("classifier",),
    "loss, optimizer": ("losses", "optim", "schedules"),
    "metrics": ("metrics", "training_metrics", "scores", "intervals", "test_time"),
    "backbone, head": ("backbones", "heads", "weights", "finetune"),
    "augmentation": ("augment",),
    "data": ("data", "image_formats", "preprocessing", "random"),
    "run directory": ("run", "provenance", "lock", "checkpoint", "hardware", "gather", "signals"),
    "config": ("config", "check", "options", "errors", "metric_names", "wandb_names"),
}


def imports(path: Path) -> Iterator[str]:
    """The modules and packages of Leyden that a file imports when it is loaded; of the commands, also when they run."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if path.stem in PARTS["commands"] else tree.body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "leyden":
            _, *inner = node.module.split(".")
            yield from inner[:1] or (alias.name for alias in node.names)


def part_of(name: str) -> str:
    """The part that a module or package belongs to."""
    return next(part for part, names in PARTS.items() if name in names)


def arrows() -> list[tuple[str, str]]:
    """Which part uses which, those left out that follow from others.

    Raises:
        ValueError: a part uses one that stands above it.
    """
    used: dict[str, set[str]] = {part: set() for part in PARTS}
    for path in SOURCE.rglob("*.py"):
        name = path.relative_to(SOURCE).parts[0].removesuffix(".py")
        for other in imports(path):
            if "__" not in other and name != "__init__" and part_of(other) != part_of(name):
                used[part_of(name)].add(part_of(other))
    below: dict[str, set[str]] = {}  # all that a part uses, and what those use
    for part in reversed(PARTS):
        if above := used[part] - set(below):
            raise ValueError(f"{part} uses {', '.join(sorted(above))}, which stands above it in docs/flow.py")
        below[part] = used[part].union(*(below[other] for other in used[part]))
    return [
        (part, other)
        for part in PARTS
        for other in PARTS
        if other in used[part] and not any(other in below[third] for third in used[part])
    ]


def chart() -> str:
    """The chart, from the commands down."""
    letters = {part: f"p{number}" for number, part in enumerate(PARTS)}
    nodes = [f'    {letters[part]}["<b>{part}</b><br/>{", ".join(names)}"]' for part, names in PARTS.items()]
    lines = [f"    {letters[part]} --> {letters[other]}" for part, other in arrows()]
    return "\n".join(["```mermaid", "flowchart TD", *nodes, *lines, "```"])


def main() -> None:
    """Writes the chart between its marks in README.md."""
    begin, end = MARKS
    text = README.read_text(encoding="utf-8")
    pattern = re.compile(f"{begin}.*?{end}", re.DOTALL)
    README.write_text(pattern.sub(f"{begin}\n{chart()}\n{end}", text), encoding="utf-8")


if __name__ == "__main__":
    main()
