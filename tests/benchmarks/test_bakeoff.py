"""The bake-off: recipes are options of dcgan, a result is one line, what is there is not done again, the best is first."""

import json

import numpy as np
import pytest

from benchmarks import bakeoff
from gan.commands import dcgan
from minigrad import command


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("small.npz", x_train=rng.integers(0, 256, (60, 16, 16), np.uint8), y_train=np.arange(60) % 10,
             x_test=rng.integers(0, 256, (20, 16, 16), np.uint8), y_test=np.arange(20) % 10, classes=list("abcdefghij"))


SMALL = ["--data", "npz:small.npz", "--out", "bake", "--images", "64", "--width", "2", "--count", "20", "--seeds", "2"]


def test_every_recipe_is_a_recipe_of_dcgan_and_eight_of_them_are_losses_or_remedies():
    for options in bakeoff.RECIPES.values():
        assert dcgan.options(options)
    assert len(bakeoff.RECIPES) >= 8 and bakeoff.RECIPES[next(iter(bakeoff.RECIPES))] == []


def classifier(monkeypatch):
    """Without the training of a judge: two steps of it."""
    original = command.main

    def main(package, commands, argv):
        words = ["--steps", "2", "--width", "2", "--batch", "8"] if argv[0] == "classifier" else \
            ["--batch", "8"] if argv[0] == "dcgan" else []
        return original(package, commands, argv + words)

    monkeypatch.setattr(bakeoff.command, "main", main)


def lines():
    with open("bake/results.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def test_results_are_lines_and_a_second_call_goes_on_with_the_first_that_is_missing(monkeypatch, capsys):
    classifier(monkeypatch)
    monkeypatch.setattr(bakeoff, "RECIPES", {"plain": [], "hinge": ["--loss", "hinge"]})
    bakeoff.main(SMALL)
    whole = lines()
    assert [(line["recipe"], line["seed"]) for line in whole] == [("plain", 0), ("hinge", 0), ("plain", 1), ("hinge", 1)]
    assert all(line["distance"] > line["floor"] > 0 and line["metric"].startswith("FD-lenet-small.npz-") for line in whole)
    with open("bake/results.jsonl", "w", encoding="utf-8") as file:  # stopped in the middle of the second line
        file.write(json.dumps(whole[0]) + "\n" + json.dumps(whole[1])[:40])
    capsys.readouterr()
    bakeoff.main(SMALL)
    again = lines()
    assert again[0] == whole[0] and len(again) == 4
    for a, b in zip(again, whole, strict=True):
        assert {k: v for k, v in a.items() if k != "seconds"} == {k: v for k, v in b.items() if k != "seconds"}
    assert capsys.readouterr().out.count("min left") == 3
    bakeoff.main(SMALL)
    assert lines() == again  # nothing left to do
    monkeypatch.setattr(bakeoff, "RECIPES", {"plain": [], "hinge": ["--loss", "hinge", "--gamma", "3"]})
    bakeoff.main([*SMALL, "--only", "hinge"])
    assert len(lines()) == 6  # a recipe that has changed is another result


def test_a_run_that_blows_up_is_a_result_and_any_other_failure_is_not(monkeypatch, capsys):
    classifier(monkeypatch)
    monkeypatch.setattr(bakeoff, "RECIPES", {"wild": ["--rate", "1e30", "--gamma", "0"]})
    bakeoff.main([*SMALL, "--seeds", "1"])
    (found,) = lines()
    assert found["distance"] is None and "not finite" in found["lost"] and "lost" in capsys.readouterr().out
    monkeypatch.setattr(bakeoff, "RECIPES", {"wrong": ["--gamma", "1", "--norm"]})
    with pytest.raises(SystemExit, match="--no-norm"):
        bakeoff.main([*SMALL, "--seeds", "1"])


def test_the_table_has_means_ranges_and_the_best_first():
    def line(recipe, seed, distance):
        return {"data": "d", "recipe": recipe, "options": bakeoff.RECIPES[recipe], "seed": seed, "images": 10, "width": 4,
                "metric": "FD", "floor": 2.0, "distance": distance, "confident": 0.5, "least": 0.08, "most": 0.12,
                "seconds": 3.0, "lost": "x"}

    a, b = list(bakeoff.RECIPES)[:2]
    o = bakeoff.argparse.Namespace(images=10, width=4, data=["d"], only="")
    text = bakeoff.tables([line(a, 0, 30.0), line(a, 1, 50.0), line(b, 0, 20.0), line(b, 1, None),
                           {**line(a, 0, 1.0), "images": 11}, {**line(a, 0, 1.0), "options": ["--loss", "x"]}], o)
    rows = [row.split(" | ") for row in text.splitlines() if row.startswith("| ")][2:]
    assert [row[0] for row in rows] == [f"| {b}", f"| {a}"]
    assert rows[0][1] == "20.0, 1 of 2 lost" and rows[1][1:4] == ["40.0", "30.0-50.0", "20"] and "floor 2.00" in text
    assert bakeoff.tables([], o) == "no results yet"


def test_every_recipe_sees_equally_many_pictures_whatever_its_batch_and_the_steps_of_its_critic(monkeypatch):
    classifier(monkeypatch)
    recipes = {"plain": [], "five": ["--critic-steps", "5"], "published": ["--preset", "published"]}
    monkeypatch.setattr(bakeoff, "RECIPES", recipes)
    bakeoff.main([*SMALL[:4], "--images", "640", *SMALL[6:8], "--count", "20", "--seeds", "1"])
    assert {line["recipe"]: line["steps"] for line in lines()} == {"plain": 640 // 32, "five": 640 // 160, "published": 640 // 128}
