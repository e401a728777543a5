"""One page of HTML: everything from outside is escaped, pictures lie inside, tables hold every kind of value."""

import base64
import html.parser
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minigrad import page
from minigrad.data import save_png


class Reader(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.texts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        self.texts.append(data)


def test_a_page_stands_alone_and_escapes_its_title(tmp_path):
    parts = [page.section("<h>", page.note("1 < 2")), page.code("x <y>")]
    path = page.write(tmp_path / "x.html", "a <script> & b", parts, ".own{}")
    text = open(path, encoding="utf-8").read()
    assert path == str(tmp_path / "x.html") and "<script" not in text and ".own{}" in text and page.STYLE in text
    assert text.startswith("<!doctype html>") and "http" not in text
    seen = Reader(text)
    assert seen.tags.count("section") == 1 and {"a <script> & b", "<h>", "1 < 2", "x <y>"} <= set(seen.texts)
    assert page.code("") == ""


@given(st.text(), st.text())
def test_names_and_values_are_read_back_as_they_were_given(name, value):
    shown = Reader(page.table({name: value}))
    assert shown.tags == ["table", "tr", "th", "td"] and "".join(shown.texts) == name + value
    assert Reader(page.rows([name], [[value]])).tags == ["table", "tr", "th", "tr", "td"]


@pytest.mark.parametrize("value, expected", [
    (None, ""), (0.123456789, "0.123457"), (3, "3"), (True, "True"), (["a", 1, "<"], "a 1 &lt;"), ("<b>", "&lt;b&gt;"),
    (page.Markup("<b>x</b>"), "<b>x</b>"), ({"a": 1}, "<table><tr><th>a<td>1</table>"),
])
def test_cells(value, expected):
    assert page.cell(value) == expected


def test_columns_of_figures_are_aligned_at_the_right_and_rows_can_have_names():
    found = page.rows(["what", "value"], [["a", 1]], right=(1,), names=True)
    assert found == "<table class=numbers><tr><th>what<th>value<tr><th>a<td class=n>1</table>"


def test_pictures_lie_inside_to_the_last_bit(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    for picture in (pixels, save_png(tmp_path / "x.png", pixels), Image.fromarray(pixels)):
        found = page.figure(picture, "an 'alt'", "step 3", "small")
        data = re.search(r"src='data:image/png;base64,([^']+)'", found)[1]
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))), pixels)
        assert found.startswith("<figure class=small>") and "<figcaption>step 3</figcaption>" in found and "an &#x27;alt" in found
    assert "figcaption" not in page.figure(pixels, "alt")
