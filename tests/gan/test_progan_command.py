"""The growth as a schedule, what becomes of real images, and `gan progan` as it is typed."""

import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import minigrad as mg
from gan import __main__ as gan_main
from gan.commands import progan
from gan.commands.helpers import distances, growing
from gan.growth import phase_of
from minigrad import command
from minigrad.checkpoint import load
from minigrad.random import Stream
from nets.generators.progan import down, faded, up
from tests.trees import newest, same

TINY = ["--size", "16", "--fade", "0.1", "--steady", "0.1", "--base", "16", "--most", "4", "--latent", "4", "--batch", "8",
        "--measure", "0"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def gan(*argv):
    return command.main("gan", gan_main.COMMANDS, list(argv))


@given(size=st.sampled_from([8, 16, 32, 64]), fade=st.floats(0.2, 50), steady=st.floats(0.2, 50),
       without=st.lists(st.sampled_from(growing.WITHOUT), unique=True))
def test_the_schedule_has_no_gap_and_sees_as_many_images_with_every_part_left_out(size, fade, steady, without):
    words = [w for name in without for w in ("--without", name)]
    o = progan.options(["--size", str(size), "--fade", repr(fade), "--steady", repr(steady), *words])
    plan = growing.plan_of(o)
    assert plan[0].first == 1 and o.steps == plan[-1].last
    assert all(a.last + 1 == b.first for a, b in zip(plan, plan[1:]))
    assert not plan[0].fading and not plan[-1].fading and (4 << plan[-1].level) == size
    assert o.batch == (64 if "small-batch" in without else 16)
    seen = plan[-1].last * o.batch
    grown = 0 if "fading" in without else fade
    asked = 1000 * (steady + (grown + steady) * plan[-1].level)
    assert abs(seen - asked) <= len(plan) * o.batch
    if "growing" in without:
        assert len(plan) == 1
    else:  # steady first, then fade, at every level (the authors' order)
        kinds = [(p.level, p.fading) for p in plan]
        fading = [(level, f) for level in range(1, plan[-1].level + 1) for f in (True, False) if grown or not f]
        assert kinds == [(0, False), *fading]


def test_alpha_rises_along_a_line_and_every_step_lies_in_its_phase():
    o = progan.options(TINY)
    plan = growing.plan_of(o)
    alphas = {phase.level: [] for phase in plan}
    for step in range(1, o.steps + 20):
        phase = phase_of(plan, step)
        assert phase.first <= step and (step <= phase.last or phase is plan[-1])
        alphas[phase.level].append(phase.alpha(step))
    assert set(alphas[0]) == {1.0} and alphas[1][0] == 0 and alphas[1][-1] == 1
    assert all(a <= b for a, b in zip(alphas[2], alphas[2][1:])) and len(set(alphas[2])) > 5


def test_real_images_are_made_small_and_faded_as_the_generators_are():
    o = progan.options(TINY)
    x = mg.tensor(Stream(0, "x").normal((4, 1, 16, 16)))
    np.testing.assert_allclose(growing.prepared(x, o, 0, 1.0, None).array, down(down(x)).array, atol=1e-6)
    half = growing.prepared(x, o, 1, 0.25, None)
    np.testing.assert_allclose(half.array, 0.75 * up(down(down(x))).array + 0.25 * down(x).array, atol=1e-6)
    np.testing.assert_array_equal(growing.prepared(x, o, 2, 0.5, None).array, faded(x, 0.5).array)
    o.mirror = True
    mirrored = growing.prepared(x, o, 2, 1.0, Stream(1, "m")).array
    kinds = [(row == a).all() * 1 + (row == a[..., ::-1]).all() * 2 for row, a in zip(mirrored, x.array, strict=True)]
    assert set(kinds) == {1, 2}


def test_the_published_numbers_are_the_defaults():
    o = progan.options([])
    assert (o.rate, o.penalty, o.target, o.drift) == (1e-3, 10.0, 1.0, 1e-3) and o.without == []
    assert abs(0.5 ** (16 / o.average) - 0.999) < 1e-5  # the paper's share of the average that a step of 16 images keeps


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert gan("progan", *TINY, "--out", str(folder)) == 0
    return str(folder / "progan-0001")


@pytest.mark.parametrize("cut", [3, 20, 30])  # steady, fading in, steady at the second level
def test_a_run_goes_on_to_the_bit_in_every_phase(cut, whole):
    total = progan.options(TINY).steps
    assert gan("progan", *TINY, "--steps", str(cut)) == 0
    assert gan("progan", "--resume", "runs/progan-0001", "--steps", str(total)) == 0
    a, b = (load(newest(run))["tree"] for run in (whole, "runs/progan-0001"))
    for name in ("generator", "critic", "average", "adam_g"):
        same(a[name], b[name])


def test_it_ends_with_two_moving_pictures(whole):
    drawn = [name for name in os.listdir(os.path.join(whole, "samples")) if name.startswith("fakes_")]
    assert Image.open(os.path.join(whole, "growth.gif")).n_frames == len(drawn) > 3
    assert Image.open(os.path.join(whole, "walk.gif")).n_frames == 60


@pytest.mark.parametrize("name", growing.WITHOUT)
def test_every_part_can_be_left_out(name):
    assert gan("progan", *TINY, "--without", name, "--dry-run") == 0


def test_it_says_what_it_found_and_judges_the_grown_network_only(capsys, monkeypatch):
    monkeypatch.setattr(distances, "STEPS", 8)
    monkeypatch.setattr(distances, "PATCHED", 20)
    measured = [word if word != "0" else "20" for word in TINY]
    assert gan("progan", *measured, "--steps", "20") == 0
    assert not os.path.exists("runs/progan-0001/distances.json")  # 8 pixels so far
    capsys.readouterr()
    assert gan("progan", "--resume", "runs/progan-0001", "--steps", str(progan.options(TINY).steps)) == 0
    said = capsys.readouterr().out
    with open("runs/progan-0001/distances.json") as file:
        found = json.load(file)
    assert found["metric"] in said and found["compared"] == 20 and found["frechet_floor"] < found["frechet_distance"]
    page = open("runs/progan-0001/report.html", encoding="utf-8").read()
    assert found["metric"] in page and "diagnosis" in page and "sliced Wasserstein x 1000" in page and 'type=range' in page
    assert os.path.exists("runs/progan-0001/diagnosis.jsonl") and "gan ablation" in said


def test_a_folder_of_ones_own_pictures(tmp_path, capsys):
    """Mixed sizes, alpha, greyscale; a broken file is named, nothing is made, and --skip-broken leaves it out."""
    os.mkdir("mine")
    rng = np.random.default_rng(0)
    for i in range(12):
        mode, channels = (("RGB", 3), ("L", 1), ("RGBA", 4))[i % 3]
        pixels = rng.integers(0, 256, (20 + i, 30 - i, channels), np.uint8)
        Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode).save(f"mine/{i}.png")
    with open("mine/broken.png", "wb") as file:
        file.write(b"no picture")
    mine = ["progan", *TINY, "--data", "folder:mine", "--mirror"]
    assert gan(*mine) == 1
    assert "broken.png" in capsys.readouterr().err and not os.path.exists("runs")
    assert gan(*mine, "--skip-broken", "--dry-run") == 0
    assert gan("progan", *TINY[:-4], "--batch", "64", "--data", "folder:mine", "--skip-broken") == 1
    assert "--batch 64" in capsys.readouterr().err and not os.path.exists("runs")


def test_a_run_of_another_kind_is_no_progan(capsys):
    assert gan("dcgan", "--size", "16", "--width", "2", "--batch", "4", "--steps", "2") == 0
    capsys.readouterr()
    assert gan("progan", "--resume", "runs/dcgan-0001") == 1
    said = capsys.readouterr().err
    assert "is a run of `python -m gan dcgan`" in said and "`python -m gan progan`" in said


def test_a_side_that_is_no_power_of_two(capsys):
    assert gan("progan", "--size", "28") == 1
    assert "power of two" in capsys.readouterr().err and not os.path.exists("runs")
