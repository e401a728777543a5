"""Colours that turn round and the grid of a transposed convolution; the diagnosis of a game of translation, finding by finding."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from gan import __main__ as gan_main
from gan.commands.colours import coins
from gan.commands.helpers.translating import Players
from gan.commands.helpers.translating_health import REMEDIES, TranslationHealth
from gan.diagnosis import NAMES, grid, spectra
from gan.translate import contrast_kept
from gan.translate.cycle import Translations
from minigrad import command, data
from minigrad.random import Stream, Streams
from nets.generators.cyclegan import ResnetGenerator


def gan(*argv):
    return command.main("gan", gan_main.COMMANDS, list(argv))


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def noise(n=2, seed=0, size=16):
    return Stream(seed, "x").normal((n, 3, size, size))


# ---- colours


@given(scale=st.floats(0.01, 100), shift=st.floats(-2, 2))
def test_contrast_is_kept_by_more_or_less_of_it_and_turned_by_a_negative(scale, shift):
    x = noise().astype(np.float64)
    np.testing.assert_allclose(contrast_kept(x, scale * x + shift), 1, atol=1e-9)
    np.testing.assert_allclose(contrast_kept(x, shift - scale * x), -1, atol=1e-9)


def test_contrast_of_unlike_pictures_of_plain_ones_and_of_unlike_shapes():
    x = noise(1)
    across, along = (np.broadcast_to(np.sign(np.arange(16) % 2 - 0.5).reshape(s), (1, 3, 16, 16)) for s in ((16, 1), (1, 16)))
    assert contrast_kept(across, along) == pytest.approx(0) and contrast_kept(across, across + along) == pytest.approx(0.5**0.5)
    assert contrast_kept(x, np.full_like(x, 0.3)) == 0 and contrast_kept(x, x + np.array([5, 0, -5]).reshape(3, 1, 1)) > 0.999999
    with pytest.raises(ValueError, match="one shape"):
        contrast_kept(x, x[:, :1])


def turned_round(players):
    """The twin that sees all pictures of a as negatives: g(-a), -f(b), d_a(-a)."""
    for layer in (players.g.model[1], players.f.model[-2], players.d_a.model[0]):
        layer.weight.array[...] *= -1
    return players


@pytest.mark.parametrize("identity", [0.0, 0.5])
def test_but_for_the_identity_loss_a_game_and_its_negative_are_the_same_to_the_bit(identity):
    a, b = noise(4, 0), noise(4, 1)
    games = []
    for twin in (False, True):
        players = Players(3, Streams(0), width=2, blocks=1, patch=1, pool=2, rate=0.01)
        sign = np.float32(-1 if twin else 1)
        if twin:
            turned_round(players)
        losses = [{name: loss.item() for name, loss in players.round(mg.tensor(sign * a[i : i + 1]), mg.tensor(b[i : i + 1]),
                                                                     identity=identity)[0].items()} for i in range(4)]
        games.append((losses, players.translated(pair(sign * a, b))))
    (one, after), (two, turned) = games
    if identity:
        assert one[0]["loss_cycle"] == two[0]["loss_cycle"] and one[0]["loss_identity"] != two[0]["loss_identity"]
    else:
        assert one == two
        np.testing.assert_array_equal(turned["ab"], after["ab"])
        np.testing.assert_array_equal(turned["ba"], -after["ba"])
        np.testing.assert_allclose(contrast_kept(-a, turned["ab"]), -contrast_kept(a, after["ab"]), atol=1e-12)


def pair(a, b):
    return SimpleNamespace(a=SimpleNamespace(normalised=lambda: a), b=SimpleNamespace(normalised=lambda: b))


def test_a_coin_turns_half_of_the_pictures_and_nothing_else():
    beasts = data.load_pair("beasts", size=16)
    tossed, again = (coins(beasts, 3) for _ in "12")
    turned = []
    for before, after, same in zip(beasts, tossed, again, strict=True):
        np.testing.assert_array_equal(after.x, same.x)
        tails = (after.x == 255 - before.x).all((1, 2, 3))
        assert (tails | (after.x == before.x).all((1, 2, 3))).all() and abs(tails.mean() - 0.5) < 0.05
        turned.append(tails)
    assert 0.4 < (turned[0] == turned[1]).mean() < 0.6  # each side has coins of its own


def test_colours_as_it_is_typed_and_again():
    words = ["--steps", "2", "--starts", "2", "--size", "16", "--width", "2"]
    assert gan("colours", *words) == 0 and gan("colours", *words, "--out", "again.png") == 0
    found, again = (json.load(open(file)) for file in ("colours.json", "again.json"))
    assert found == again and [start["seed"] for start in found["starts"]] == [0, 1]
    for name in ("without", "with"):
        assert found["turned round"][name] == sum(start[name]["kept"] < 0 for start in found["starts"])
    assert open("colours.png", "rb").read() == open("again.png", "rb").read()


# ---- the grid


@pytest.mark.parametrize("period", [2, 4])
def test_a_wave_is_found_at_its_own_period_only(period):
    wave = np.cos(2 * np.pi * np.arange(32) / period)
    x = noise(200, size=32) * 0.1 + np.float32(wave)
    assert grid(x, period) > 100 and grid(x, 6 - period) == pytest.approx(1, abs=0.2)


def test_spectra_hold_all_the_power():
    """Parseval: each frequency but 0 and the highest stands for two."""
    x = noise(3, size=12)
    for line in spectra(x):
        assert line[0] + 2 * line[1:-1].sum() + line[-1] == pytest.approx(144 * np.square(x, dtype=np.float64).sum() / 9, rel=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_at_its_first_weights_a_transposed_convolution_draws_a_grid_and_an_enlarging_one_does_not(seed):
    x = mg.tensor(data.load_pair("beasts", size=32).a.normalised()[:8])
    found = {}
    for resize in (False, True):
        with mg.no_grad():
            found[resize] = grid(ResnetGenerator(3, 3, 8, 1, resize, rng=Stream(seed, "g"))(x).numpy())
    assert found[False] > 3 and found[True] < 1.5


def test_checkerboard_as_it_is_typed_and_again():
    words = ["--steps", "2", "--size", "16", "--width", "2"]
    assert gan("checkerboard", *words) == 0 and gan("checkerboard", *words, "--out", "again.png") == 0
    found, again = (json.load(open(file)) for file in ("checkerboard.json", "again.json"))
    assert found == again and set(found["transposed convolution"]["end"]) == {"grid of 2", "grid of 4"}


def test_a_grid_needs_real_pictures_that_have_fine_stripes(tmp_path, capsys):
    from PIL import Image

    for name, level in (("plain", 90), ("grey", 160)):
        (tmp_path / name).mkdir()
        for i in range(20):
            Image.new("RGB", (16, 16), (level, level, level)).save(tmp_path / name / f"{i}.png")
    assert gan("checkerboard", "--data", "pair:plain,grey", "--steps", "1", "--size", "16", "--width", "2") == 1
    assert "no fine stripes" in capsys.readouterr().err


# ---- the diagnosis


class Told:
    """A run that keeps what it is told."""

    def __init__(self, folder):
        self.folder, self.said = folder, []

    def file(self, name):
        return str(self.folder / name)

    def say(self, text):
        self.said.append(text)


def smooth(n, seed):
    x = noise(n, seed)
    for axis in (2, 3):
        x = (x + np.roll(x, 1, axis)) / 2
    return x.clip(-1, 1)


@pytest.fixture
def health(tmp_path):
    """A diagnosis of two kinds of smooth noise; what its judges answer is the mean of a picture, times .slope, plus .shift."""
    sides = [data.Dataset(np.uint8(127.5 * (smooth(40, seed) + 1)), name=name) for seed, name in enumerate(("brown", "striped"))]
    both, players = data.Pair(*sides), Players(3, Streams(0), width=2, blocks=1, patch=1)
    found = TranslationHealth(Told(tmp_path), players, both, both)
    found.slope, found.shift = 1.0, 0.5

    class Judge(mg.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = mg.nn.Parameter(np.ones(1, np.float32))

        def forward(self, x):
            return x.mean((1, 2, 3)) * found.slope + found.shift

    found.judges = {way: Judge() for way in found.judges}
    for watch in found.watches.values():
        watch.warm = 1
    return found


def seen(health, step, ab=None, steps=10, real=0.0, fake=0.0):
    """The findings of a stretch of the game: real pictures and translations of so much light; ab: what the look sees of one way."""
    before = len(health.watches["ab"].found)
    for i in range(steps):
        x, y = (mg.tensor(smooth(8, 50 + i) + np.float32(level)) for level in (real, fake))
        health.pulse(x, x, Translations(y, y, x, x))
    numbers = health.look(step, {"ab": smooth(40, 9) if ab is None else ab, "ba": smooth(40, 8)})
    assert set(numbers) >= {"health/diversity_ab", "health/push_ba", "health/sure_ab", "health/grid_ba"}
    return [finding.name for finding in health.watches["ab"].found[before:]]


def test_a_healthy_translation_has_no_finding(health):
    assert seen(health, 500) == [] and health.words() == "nothing found wrong"


def test_each_finding_of_a_translation_is_provoked_and_told_with_its_way(health, tmp_path):
    board = ((np.indices((16, 16)).sum(0) % 2) * 2 - 1).astype(np.float32)
    assert seen(health, 1) == []
    assert seen(health, 2, real=2.0, fake=-2.0) == ["too good"]
    assert seen(health, 3, ab=smooth(40, 9) * np.float32(0.3)) == ["collapse"]
    assert seen(health, 4, ab=smooth(40, 9) + 0.4 * board) == ["checkerboard"]
    health.slope = 1e-4  # the judge does not tell the translator where to go any more
    assert seen(health, 5) == ["vanishing"]
    health.slope = 1e4
    assert seen(health, 6) == ["exploding"]
    records = [json.loads(line) for line in open(tmp_path / "diagnosis.jsonl")]
    told = {record["name"] for record in records if record["evidence"].startswith("brown to striped: ")}
    assert told == {"too good", "collapse", "checkerboard", "vanishing", "exploding"}
    assert any(line.startswith("brown to striped, step 4: checkerboard") and "--resize" in line for line in health.run.said)
    assert health.words().startswith("brown to striped: too good, collapse, checkerboard, vanishing, exploding")


def test_a_look_that_only_ends_a_run_is_not_kept(health):
    before = json.dumps(health.state_dict(), default=np.ndarray.tolist)
    health.look(7, {way: np.zeros((40, 3, 16, 16), np.float32) for way in ("ab", "ba")}, last=True)
    assert "collapse" in health.words()
    assert json.dumps(health.state_dict(), default=np.ndarray.tolist) == before


def test_remedies_are_options_that_gan_cyclegan_has(capsys):
    with pytest.raises(SystemExit):
        gan("cyclegan", "--help")
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    named = set(re.findall(r"--[a-z-]+", " ".join(REMEDIES.values())))
    assert named and named <= known and set(REMEDIES) == set(NAMES) - {"oscillation"}
