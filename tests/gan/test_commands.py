"""The commands as a student types them: dry runs, presets, resume to the byte, sampling, errors."""

import contextlib
import gc
import json
import os

import numpy as np
import pytest

from attacks import __main__ as attacks_main
from gan import __main__ as gan_main
from gan.commands import dcgan
from gan.commands.helpers import remedies
from gan.generate import generate, trained_generator
from gan.regularise import Adaptive
from minigrad import command
from minigrad.checkpoint import load
from minigrad.random import Stream
from minigrad.run import Run
from nets import __main__ as nets_main
from tests.trees import leaves, newest, same

TINY = ["--size", "8", "--batch", "4", "--width", "2", "--latent", "3", "--lazy", "2"]


def gan(*argv):
    return command.main("gan", gan_main.COMMANDS, list(argv))


def attacks(*argv):
    return command.main("attacks", attacks_main.COMMANDS, list(argv))


def nets(*argv):
    return command.main("nets", nets_main.COMMANDS, list(argv))


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("preset", ["best", "published"])
def test_dry_run_leaves_nothing(preset, capsys):
    assert gan("dcgan", "--dry-run", "--preset", preset, *TINY) == 0
    assert os.listdir(".") == []


@pytest.mark.parametrize("loss", ["minimax", "least_squares", "wasserstein", "hinge", "relativistic"])
def test_every_loss_trains(loss):
    assert gan("dcgan", "--dry-run", "--loss", loss, *TINY) == 0


class Stop(Exception):
    pass


LATE = ["--augment", "all", "--augment-images", "20"]  # changes nothing before the fifth step
REMEDIES = [["--no-conditional"], ["--augment", "blit", "--augment-images", "20", "--no-conditional", "--gradient-penalty", "10"],
            ["--stddev", "2"], ["--pack", "2"], ["--stddev", "2", "--pack", "2"], ["--spectral-norm"], ["--gradient-penalty", "10"],
            ["--unroll", "2"], ["--noise", "0.5"], ["--smooth", "0.1"], ["--critic-steps", "2"]]


@pytest.mark.parametrize("options", [[], ["--preset", "published"], ["--loss", "relativistic"], LATE, *REMEDIES],
                         ids=" ".join)
def test_resumed_training_equals_uninterrupted_training_byte_for_byte(options, monkeypatch):
    monkeypatch.setattr(remedies, "Adaptive", Rising)
    assert gan("dcgan", "--steps", "6", "--out", "whole", *TINY, *options) == 0
    assert gan("dcgan", "--steps", "6", "--out", "parts", *TINY, *options) == 0
    calls, step, start = [], dcgan.optim.Adam.step, dcgan.command.start

    def stop_after_three_steps(self):
        calls.append(1)
        if len(calls) > 6:  # two players
            raise Stop
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(dcgan.optim.Adam, "step", stop_after_three_steps)
        patch.setattr(dcgan.command, "start", lambda name, o: every_step(start(name, o)))
        with contextlib.suppress(Stop):
            gan("dcgan", "--steps", "6", "--out", "broken", *TINY, *options)
    gc.collect()  # the patched run refers to itself; its lock goes with it
    assert not os.path.exists("broken/dcgan-0001/report.html")
    assert gan("dcgan", "--resume", "broken/dcgan-0001") == 0
    same(load(newest("whole/dcgan-0001")), load(newest("broken/dcgan-0001")))
    same(load(newest("whole/dcgan-0001")), load(newest("parts/dcgan-0001")))
    metrics = [open(f"{folder}/dcgan-0001/metrics.jsonl").read() for folder in ("whole", "broken")]
    assert metrics[0] == metrics[1]


def test_every_remedy_changes_the_game():
    """None is an option that nothing reads: after two steps each generator is another one."""
    seen = {}
    for number, options in enumerate([[], *REMEDIES]):
        assert gan("dcgan", "--steps", "2", "--out", f"r{number}", *TINY, *options) == 0
        weights = load(newest(f"r{number}/dcgan-0001"))["tree"]["generator"]
        seen[" ".join(options)] = np.concatenate([np.ravel(array) for array in weights.values()]).tobytes()
    assert len(set(seen.values())) == len(seen)


class Rising(Adaptive):
    """Takes every discriminator for one that is too sure, so that a few steps change something."""

    def __init__(self, **options):
        super().__init__(**options)
        self.target = -2.0


def test_augmentation_changes_the_game_once_its_share_has_risen(monkeypatch):
    monkeypatch.setattr(remedies, "Adaptive", Rising)
    assert gan("dcgan", "--steps", "6", *TINY, *LATE) == 0 and gan("dcgan", "--steps", "6", *TINY) == 0
    states = [load(newest(f"runs/dcgan-000{i}"))["tree"] for i in (1, 2)]
    assert states[0]["adaptive"]["p"] > 0.5 and "adaptive" not in states[1]
    pairs = zip(*(leaves(state["generator"]) for state in states), strict=True)
    assert any((a != b).any() for (_, a), (_, b) in pairs)


def test_a_digit_can_be_picked(capsys):
    """Each class in its own column of the sheet; `sample --label` draws one class only, and knows which there are."""
    assert gan("dcgan", "--steps", "2", *TINY) == 0
    run = Run.open("runs/dcgan-0001")
    assert run.config["classes"] == list("0123456789")
    generator = trained_generator(run)
    latents = Stream(0, "z").normal((12, 3))
    in_turn = generate(generator, latents)
    for i in (3, 10):
        np.testing.assert_allclose(in_turn[i], generate(generator, latents[i : i + 1], labels=np.array([i % 10]))[0], atol=1e-5)
    assert gan("sample", run.path, "--count", "4", "--frames", "2", "--label", "7") == 0
    capsys.readouterr()
    assert gan("sample", run.path, "--label", "eleven") == 1 and "the run knows 0, 1, 2" in capsys.readouterr().err
    assert gan("dcgan", "--steps", "2", *TINY, "--no-conditional") == 0 and gan("sample", "runs/dcgan-0002", "--label", "7") == 1
    assert "trained without classes" in capsys.readouterr().err
    assert gan("dcgan", "--conditional", "--pack", "2", *TINY) == 1 and "no common class" in capsys.readouterr().err


def test_a_collapse_is_told_in_words_and_stays_in_the_run(capsys):
    """A generator that hardly learns draws one grey picture: at the first look that judges it is said, and stands in the report."""
    assert gan("dcgan", "--steps", "750", *TINY, "--generator-rate", "1e-9", "--average", "0") == 0
    said = capsys.readouterr().out
    assert said.count("collapse:") == 1 and "--stddev 4" in said
    records = [json.loads(line) for line in open("runs/dcgan-0001/diagnosis.jsonl")]
    assert "collapse" in [record["name"] for record in records]
    assert "collapse" in open("runs/dcgan-0001/report.html").read()
    lines = [json.loads(line) for line in open("runs/dcgan-0001/metrics.jsonl")]
    assert any("health/diversity" in line for line in lines)


def test_a_number_that_is_not_finite_is_a_finding(capsys):
    assert gan("dcgan", "--steps", "40", *TINY, "--rate", "1e4") == 3
    records = [json.loads(line) for line in open("runs/dcgan-0001/diagnosis.jsonl")]
    assert records[-1]["name"] == "not finite" and "rate" in records[-1]["remedy"]


def test_a_run_of_before_there_was_a_diagnosis_goes_on(monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(dcgan, "command", Forgetful())
        assert gan("dcgan", "--steps", "2", *TINY) == 0
    gc.collect()  # as above
    assert "watch" not in load(newest("runs/dcgan-0001"))["tree"]
    assert gan("dcgan", "--resume", "runs/dcgan-0001", "--steps", "4") == 0


class Forgetful:
    """`minigrad.command` whose runs keep no diagnosis, as before there was one."""

    def __getattr__(self, name):
        return getattr(command, name)

    @staticmethod
    def start(name, o):
        run = command.start(name, o)
        loop = run.loop
        run.loop = lambda start, steps, save: loop(start, steps, save={k: v for k, v in save.items() if k != "watch"})
        return run


def every_step(run):
    loop = run.loop
    run.loop = lambda start, steps, save: loop(start, steps, save=save, every=1)
    return run


def test_a_finished_run_that_is_resumed_says_so(capsys):
    assert gan("dcgan", "--steps", "2", *TINY) == 0
    assert gan("dcgan", "--resume", "runs/dcgan-0001") == 0
    assert "already at step 2 of 2" in capsys.readouterr().out


def test_sample_and_evaluate(capsys):
    small = ["--size", "16", "--batch", "4", "--width", "2", "--latent", "3", "--steps", "3"]
    assert gan("dcgan", *small) == 0
    assert gan("sample", "runs/dcgan-0001", "--count", "6", "--rows", "2", "--stops", "2", "--frames", "2") == 0
    assert os.path.getsize("runs/dcgan-0001/samples/grid.png") and os.path.getsize("runs/dcgan-0001/samples/walk.gif")
    assert nets("classifier", "--size", "16", "--width", "2", "--batch", "8", "--steps", "2") == 0
    capsys.readouterr()
    assert gan("evaluate", "runs/dcgan-0001", "--judge", "runs/classifier-0001", "--count", "100") == 0
    found = json.load(open("runs/dcgan-0001/evaluation.json"))
    assert found["metric"].startswith("FD-lenet-glyphs-") and found["metric"].endswith("@100")
    assert sum(found["histogram"].values()) == pytest.approx(1)
    assert found["frechet_distance"] > found["floor_train_train"] >= 0


def test_the_floor_of_a_small_set_is_of_disjoint_images_and_the_name_says_how_many(capsys):
    """24 training images: at most 12 of them on each side, whatever --count asks for."""
    rng = np.random.default_rng(0)
    np.savez("small.npz", x_train=rng.integers(0, 256, (24, 16, 16), np.uint8), y_train=np.arange(24) % 2,
             x_test=rng.integers(0, 256, (6, 16, 16), np.uint8), y_test=np.arange(6) % 2, classes=["a", "b"])
    size = ["--data", "npz:small.npz", "--size", "16", "--batch", "4", "--width", "2", "--steps", "2"]
    assert gan("dcgan", *size, "--latent", "3") == 0
    assert nets("classifier", *size) == 0 and attacks("train", *size) == 0
    names = []
    for judge in ("classifier-0001", "trained-fast-0001"):
        for count, real in ((8, 8), (12, 12), (24, 12), (1000, 12)):
            capsys.readouterr()
            assert gan("evaluate", "runs/dcgan-0001", "--judge", f"runs/{judge}", "--count", str(count)) == 0
            found, out = json.load(open("runs/dcgan-0001/evaluation.json")), capsys.readouterr().out
            assert found["metric"].endswith(f"-real{real}@{real}") and found["judge"] == judge
            assert (found["samples"], found["real_images"], found["test_images"]) == (count, real, 6)
            assert ("the training set has 24 images" in out) == (count > 12)
            assert found["floor_train_train"] > 0 and "-0.00" not in out and "only 6 test images" in out
        names.append(found["metric"])
    assert names[0].startswith("FD-lenet-") and names[1].startswith("FD-strided-")


@pytest.mark.parametrize("argv, status, message", [
    (["dcgam"], 2, "did you mean 'dcgan'"),
    (["dcgan", "--stepz", "3"], 2, "did you mean '--steps'"),
    (["dcgan", "--steps", "0"], 2, "must be an integer of at least 1"),
    (["dcgan", "--data", "ring"], 1, "holds no images"),
    (["dcgan", "--data", "mnits"], 1, "did you mean 'mnist'"),
    (["dcgan", "--size", "30"], 1, "28, 32 or 64"),
    (["dcgan", "--gamma", "1", "--norm"], 1, "--no-norm"),
    (["dcgan", "--preset", "published", "--unroll", "1"], 1, "--unroll needs --no-norm"),
    (["dcgan", "--preset", "published", "--gradient-penalty", "1"], 1, "--gradient-penalty needs --no-norm"),
    (["dcgan", "--gradient-penalty", "1", "--stddev", "4"], 1, "neither"),
    (["dcgan", "--unroll", "1", "--spectral-norm"], 1, "power iteration"),
    (["dcgan", "--loss", "hinge", "--smooth", "0.1"], 1, "targets"),
    (["dcgan", "--batch", "10", "--pack", "4"], 1, "multiple"),
    (["dcgan", "--resume", "nowhere"], 1, "nowhere"),
    (["sample", "nowhere"], 1, "nowhere"),
])
def test_wrong_calls_are_told_in_one_line(argv, status, message, capsys):
    try:
        found = gan(*argv)
    except SystemExit as leaving:
        found = leaving.code
    err = capsys.readouterr().err
    assert found == status and message in err and "Traceback" not in err
