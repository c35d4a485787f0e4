"""Results > **pages** > HTML: how every page is made that needs nothing beside it, and the look that they share."""

import base64
import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from leyden.errors import printable
from leyden.run import write_atomically

REPORT = Path(__file__).parent / "report"
STYLE = REPORT / "page.css"  # of all pages, light and dark


def fill(template: Path, **values: Any) -> str:
    """The page that a template makes of values; one that it asks for and is not given is an error."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template.name).render(**values)


def sources(*paths: Path) -> Markup:
    """Style or scripts as they are, one file after the other."""
    return Markup("".join(path.read_text(encoding="utf-8") for path in paths))


def plotly() -> Markup:
    """The script that draws charts, some megabytes of it."""
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs())


def for_script(numbers: Any) -> Markup:
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(_rounded(numbers), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


def _rounded(value: Any) -> Any:
    """The same with five significant digits: more cannot be seen in a chart, and make the page large."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return [_rounded(one) for one in value] if isinstance(value, list) else value


def image_address(content: bytes, kind: str = "png") -> str:
    """An image as the address of itself."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def write_html(path: Path, html: str) -> None:
    """Writes a page, in which names of files that are no text may stand."""
    write_atomically(path, printable(html))
