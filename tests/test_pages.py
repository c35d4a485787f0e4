"""Pages that need nothing beside them."""

import json
import os
from pathlib import Path

import jinja2
import pytest

from leyden.pages import fill, for_script, image_address, sources, write_html


def test_values_are_escaped_and_none_is_forgotten(tmp_path: Path) -> None:
    template = tmp_path / "page.html.j2"
    template.write_text("<p>{{ name }}</p>", encoding="utf-8")
    assert fill(template, name="<b>") == "<p>&lt;b&gt;</p>"
    with pytest.raises(jinja2.UndefinedError, match="name"):
        fill(template)


def test_numbers_cannot_end_their_script_and_have_five_digits() -> None:
    text = for_script({"</script>": [1.23456789, {"class": 2}]})
    assert "<" not in text
    assert json.loads(text) == {"</script>": [1.2346, {"class": 2}]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        for_script([float("nan")])


def test_style_stands_as_it_is_in_the_order_given(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("p > b {}", encoding="utf-8")
    (tmp_path / "b").write_text("i {}", encoding="utf-8")
    assert sources(tmp_path / "a", tmp_path / "b") == "p > b {}i {}"


def test_image_is_an_address() -> None:
    assert image_address(b"\xff\x00", "jpeg") == "data:image/jpeg;base64,/wA="


def test_name_that_is_no_text_may_stand_on_a_page(tmp_path: Path) -> None:
    write_html(tmp_path / "page.html", f"<p>{os.fsdecode(b'b' + bytes([255]))}</p>")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "<p>b\\udcff</p>"
