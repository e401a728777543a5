"""How a picture is opened: one function, the same for `folder:`, `nets classify` and `attacks panda`; every mode, every depth."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minigrad.data import ENDINGS, DataError, load, open_picture
from nets.commands.helpers.own_pictures import files_of
from nets.imagenet.weights import photograph

RAMP = np.linspace(0, 1, 64).reshape(8, 8)
GREY = np.rint(255 * RAMP).astype(np.uint8)


def palette():
    picture = Image.fromarray(GREY).convert("P")
    return picture, {"transparency": 0}


CASES = {  # name: (picture, file's ending, options of save, grey levels expected); the same ramp in every depth
    "8 bits": (Image.fromarray(GREY), "png", {}, GREY),
    "16 bits": (Image.fromarray(np.rint(65535 * RAMP).astype(np.uint16)), "png", {}, GREY),
    "16 bits, TIFF": (Image.fromarray(np.rint(65535 * RAMP).astype(np.uint16)), "tif", {}, GREY),
    "16 bits, white is zero": (Image.fromarray(np.rint(65535 * (1 - RAMP)).astype(np.uint16)), "tif", {"tiffinfo": {262: 0}}, GREY),
    "32 bits that hold 16": (Image.fromarray(np.rint(65535 * RAMP).astype(np.int32)), "tif", {}, GREY),
    "32 bits": (Image.fromarray(np.rint((2**31 - 1) * RAMP).astype(np.int32)), "tif", {}, GREY),
    "float to 1": (Image.fromarray(RAMP.astype(np.float32)), "tif", {}, GREY),
    "float to 255": (Image.fromarray((255 * RAMP).astype(np.float32)), "tif", {}, GREY),
    "float to 65535": (Image.fromarray((65535 * RAMP).astype(np.float32)), "tif", {}, GREY),
    "float a little beyond": (Image.fromarray((1.016 * RAMP - 0.008).astype(np.float32)), "tif", {},
                              np.rint(255 * np.clip(1.016 * RAMP - 0.008, 0, 1)).astype(np.uint8)),
    "one bit": (Image.fromarray(GREY >= 128), "png", {}, np.where(GREY >= 128, 255, 0)),
    "palette": (palette()[0], "png", {}, GREY),
    "palette, one of it clear": (*palette()[:1], "png", palette()[1], np.where(GREY == 0, 255, GREY)),
    "grey with alpha": (Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (8, 8), 0)]), "png", {}, np.full((8, 8), 255)),
    "a clear grey level": (Image.fromarray(GREY), "png", {"transparency": 0}, np.where(GREY == 0, 255, GREY)),
    "a clear level of 16 bits": (Image.fromarray(np.rint(65535 * RAMP).astype(np.uint16)), "png", {"transparency": 0},
                                 np.where(GREY == 0, 255, GREY)),
    "colour with alpha": (Image.merge("RGBA", [Image.fromarray(GREY)] * 3 + [Image.new("L", (8, 8), 255)]), "png", {}, GREY),
    "CMYK": (Image.merge("CMYK", [Image.new("L", (8, 8), 0)] * 3 + [Image.fromarray(255 - GREY)]), "tif", {}, GREY),
}


@pytest.mark.parametrize("case", CASES)
def test_every_kind_of_picture_scales_the_same_way_everywhere(case, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    picture, ending, options, wanted = CASES[case]
    path = tmp_path / "here" / f"x.{ending}"
    os.makedirs(path.parent)
    picture.save(path, **options)
    assert open_picture(path).mode == "RGB" and open_picture(path, grey=True).mode == "L"
    for found in (np.asarray(open_picture(path, grey=True)), np.asarray(open_picture(path))[..., 1],
                  load(f"folder:{path.parent}", size=8, grey=True).x[0, 0], load(f"folder:{path.parent}", size=8).x[0, 2],
                  np.rint(255 * photograph(path, 8)[0])):
        assert np.abs(found.astype(int) - wanted).max() <= 1, case  # one level: conversions round differently
    assert files_of(tmp_path / "here") == [str(path)]


@pytest.mark.parametrize("turn, place", [(1, (0, 0)), (3, (-1, -1)), (6, (0, -1)), (8, (-1, 0)), (2, (0, -1)), (4, (-1, 0))])
@pytest.mark.parametrize("depth", [8, 16])
def test_pictures_are_turned_as_their_exif_says(turn, place, depth, tmp_path):
    array = np.zeros((8, 8), np.uint16 if depth == 16 else np.uint8)
    array[0, 0] = 2**depth - 1
    picture = Image.fromarray(array)
    exif = picture.getexif()
    exif[0x0112] = turn
    picture.save(tmp_path / "x.png", exif=exif)
    found = np.asarray(open_picture(tmp_path / "x.png", grey=True))
    assert found[place] == 255 and found.sum() == 255


@pytest.mark.parametrize("values, words", [
    ([[0, np.nan]], "nan"), ([[0, np.inf]], "inf"), ([[-1, 1]], "from -1 to 1"), ([[0, 1e6]], "from 0 to 1e"),
])
def test_values_without_a_grey_level_are_refused_with_the_file_and_a_remedy(values, words, tmp_path):
    Image.fromarray(np.float32(values)).save(tmp_path / "x.tif")
    with pytest.raises(DataError, match=words) as caught:
        open_picture(tmp_path / "x.tif")
    assert caught.value.path.endswith("x.tif") and "8 or 16 bits" in str(caught.value)


@given(st.integers(0, 65535))
@settings(max_examples=30)
def test_sixteen_bits_are_divided_by_257(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("levels") / "x.png"
    Image.fromarray(np.full((1, 1), value, np.uint16)).save(path)
    assert np.asarray(open_picture(path, grey=True))[0, 0] == round(value / 257)


def test_a_file_that_is_not_there_and_one_that_is_no_picture(tmp_path):
    (tmp_path / "x.png").write_text("no")
    with pytest.raises(DataError, match="not a readable picture.*Name a picture"):
        open_picture(tmp_path / "x.png")
    with pytest.raises(DataError, match="no such file. Try"):
        open_picture(tmp_path / "y.png", remedy="Try")
    assert set(ENDINGS) > {".png", ".jpg", ".pgm"}
