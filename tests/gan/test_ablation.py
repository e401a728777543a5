"""The distances at a run's end, and the table of ablations: resumable, each row a run of gan progan."""

import json
import os

import numpy as np
import pytest

from gan import __main__ as gan_main
from gan.commands import ablation
from gan.commands.helpers import distances
from gan.commands.helpers.distances import Distances
from gan.metrics import ladder
from minigrad import command
from minigrad.data import Dataset, load_images
from minigrad.run import Run

TINY = ["--fade", "0.05", "--steady", "0.05", "--base", "16", "--most", "4", "--count", "20", "--only", "growing"]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(distances, "STEPS", 40)
    monkeypatch.setattr(distances, "PATCHED", 50)


def gan(*argv):
    return command.main("gan", gan_main.COMMANDS, list(argv))


def results(folder="ablation"):
    with open(f"{folder}/results.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.mark.parametrize("labels", [True, False])
def test_the_distances_rank_real_pictures_before_blurred_ones_before_noise(labels):
    """The judge learns labels, or turns where there are none; its name says which, and equal data give an equal judge."""
    glyphs = load_images("glyphs", size=16, limit=240)
    images = Dataset(glyphs.x, glyphs.y if labels else None, classes=glyphs.classes if labels else (), name="glyphs")
    with Distances(images, 1000) as far:
        assert far.count == 120 and ("-turns-" in far.metric) == (not labels)
        real = load_images("glyphs", size=16, limit=360).subset(slice(240, None)).normalised()
        found = [far.of(x) for x in (real, ladder.blurred(real), np.random.default_rng(0).uniform(-1, 1, real.shape).astype("f"))]
    for name in ("frechet_distance", "sliced"):
        near, blurred, noise = (float(np.mean(f[name])) for f in found)
        assert near < blurred < noise, name
        assert near < 3 * np.mean(found[0][name.replace("_distance", "") + "_floor"])
    with Distances(images, 1000) as again:
        assert again.metric == far.metric and again.of(real) == found[0]
    assert "floor" in far.words(found[0])[far.metric]


def test_pictures_that_no_lenet_reads_have_the_sliced_distance_only():
    images = Dataset(np.random.default_rng(0).integers(0, 256, (40, 3, 8, 8), np.uint8), name="noise")
    with Distances(images, 20) as far:
        found = far.of(images.normalised()[:20])
    assert found["metric"] is None and found["frechet_distance"] is None and len(found["sliced"]) == 1
    assert list(far.words(found)) == ["sliced Wasserstein x 1000"]


def test_a_finished_row_is_not_run_again_and_a_started_one_goes_on(capsys, monkeypatch):
    stopped, play = [], ablation.play

    def stops(o, run, images):
        if o.without and not stopped:  # as Ctrl-C does, after a checkpoint
            stopped.append(run.path)
            o.steps, whole = 4, o.steps
            play(o, run, images)
            o.steps = whole
            raise SystemExit(130)
        return play(o, run, images)

    monkeypatch.setattr(ablation, "play", stops)
    with pytest.raises(SystemExit):
        gan("ablation", *TINY)
    said = capsys.readouterr().out
    assert "the same command goes on" in said and [line["row"] for line in results()] == [ablation.FULL]
    assert "all of it" in said and os.path.isfile("ablation/ablation.png")  # what is there is shown
    first = results()[0]
    assert gan("ablation", *TINY) == 0
    said = capsys.readouterr().out
    assert f"resuming {stopped[0]} after step 4" in said and said.count("row ") == 1
    lines = results()
    assert lines[0] == first and [line["row"] for line in lines] == [ablation.FULL, "without growing"]
    assert all(Run.open(line["run"], quiet=True).config["without"] == ablation.ROWS[line["row"]] for line in lines)
    before = os.path.getmtime("ablation/results.jsonl")
    assert gan("ablation", *TINY) == 0 and os.path.getmtime("ablation/results.jsonl") == before
    assert gan("ablation", *TINY, "--seeds", "2") == 0
    assert [(line["seed"], line["row"]) for line in results()][2:] == [(1, ablation.FULL), (1, "without growing")]
    assert "(" in capsys.readouterr().out  # mean, least and largest


def test_rows_of_other_options_are_other_results():
    images, judge = load_images("glyphs", size=16, limit=10), type("judge", (), {"metric": "FD"})
    keys = {ablation.key(ablation.row_of(ablation.options([*TINY, "--fade", fade]), name, images, seed), judge)
            for fade in ("0.05", "0.1") for name in ablation.ROWS for seed in (0, 1)}
    assert len(keys) == 2 * 2 * len(ablation.ROWS)


def test_half_a_line_of_a_killed_run_is_no_result_and_spoils_none():
    os.mkdir("ablation")
    with open("ablation/results.jsonl", "w") as file:
        file.write('{"key": "12')
    assert gan("ablation", *TINY) == 0
    found = ablation.read("ablation/results.jsonl")
    assert [line["row"] for line in found.values()] == [ablation.FULL, "without growing"]


def test_it_judges_from_16_pixels_on(capsys):
    assert gan("ablation", "--size", "8") == 1 and "from 16 pixels on" in capsys.readouterr().err
    assert gan("ablation", "--size", "20") == 1 and "power of two" in capsys.readouterr().err and not os.path.exists("ablation")
