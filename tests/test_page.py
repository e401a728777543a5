"""One page of HTML: everything from outside is escaped, pictures lie inside, tables hold every kind of value."""

import base64
import html
import html.parser
import io
import json
import re
import urllib.parse

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
    assert shown.tags == ["table", "tr", "th", "td", *["pre"] * ("\n" in value)] and "".join(shown.texts) == name + value
    tags = Reader(page.rows([name], [[value]])).tags
    assert [tag for tag in tags if tag != "pre"] == ["table", "tr", "th", "tr", "td"]


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


def test_a_slider_holds_all_pictures_and_shows_the_last(tmp_path):
    """Columns move together, every picture lies in the page, and without a script the last one is seen."""
    pixels = [np.full((4, 4, 3), i, np.uint8) for i in range(3)]
    found = page.slider({"before <x>": pixels, "after": pixels}, ["step 1", "step 'two'", "step 3"], "why", {"real": pixels[0]})
    images = re.findall(r"<img [^>]*>", found)
    assert len(images) == 7 and sum(" hidden" in image for image in images) == 4 and "before &lt;x&gt;" in found
    assert "hidden" not in images[2] and "hidden" not in images[5] and "hidden" not in images[6]
    labels = re.search(r"data-labels='([^']*)'", found)[1]
    assert json.loads(html.unescape(labels)) == ["step 1", "step 'two'", "step 3"]
    assert "type=range min=0 max=2 step=1 value=2" in found and "aria-label=" in found
    path = page.write(tmp_path / "x.html", "x", [page.section("s", found)])
    assert open(path, encoding="utf-8").read().count("<script>") == 1
    for series, labels in (({}, ["a"]), ({"a": pixels}, ["1", "2"]), ({"a": []}, [])):
        with pytest.raises(ValueError, match="slider"):
            page.slider(series, labels)


@given(st.text(min_size=1))
def test_links_lead_to_the_file_that_they_name(name):
    target = re.search(r"href='([^']*)'", page.link(name))[1]
    assert urllib.parse.unquote(html.unescape(target)) == name.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def test_bars_are_as_long_as_their_shares():
    found = page.bars({"a": 0.2, "b": 0.1, "<c>": 0.0}, width=100)
    assert re.findall(r"width:(\d+)px", found) == ["100", "50", "0"] and "20.0 %" in found and "&lt;c&gt;" in found
