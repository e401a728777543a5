"""nets autoencoder, vae, charrnn, generate and blur as a student types them: dry runs, resume to the byte, samples, errors."""

import contextlib
import filecmp
import gc
import json
import os

import numpy as np
import pytest

from gan import __main__ as gan_main
from minigrad import command
from minigrad.run import Run
from nets import __main__ as nets_main
from nets.commands import charrnn
from tests.trees import same_runs

SMALL = ["--size", "8", "--batch", "4", "--width", "2", "--latent", "3"]
TEXT = ["--hidden", "5", "--batch", "4", "--length", "6"]
COMMANDS = {
    "autoencoder": ["autoencoder", *SMALL],
    "autoencoder l1": ["autoencoder", *SMALL, "--loss", "l1", "--refine", "0"],
    "vae": ["vae", *SMALL],
    "vae gaussian": ["vae", *SMALL, "--likelihood", "gaussian", "--latent", "1"],
    "vae mlp": ["vae", *SMALL, "--network", "mlp", "--hidden", "8", "--beta", "0.5"],
    "charrnn": ["charrnn", *TEXT],
    "charrnn gru": ["charrnn", *TEXT, "--cell", "gru", "--embedding", "4", "--layers", "1"],
    "charrnn published": ["charrnn", "--preset", "published", *TEXT],
    "blur": ["blur", *SMALL],
}
EVERY = pytest.mark.parametrize("argv", COMMANDS.values(), ids=COMMANDS.keys())


def nets(*argv):
    return command.main("nets", nets_main.COMMANDS, list(argv))


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def few_glyphs(monkeypatch):
    """500 glyphs instead of 70,000: they are evaluated whole."""
    from minigrad.data import SOURCES
    source, text = SOURCES["glyphs"]

    def few(*, train=True, size=28, limit=None, seed=0):
        return source(train=train, size=size, limit=limit or 500, seed=seed)

    monkeypatch.setitem(SOURCES, "glyphs", (few, text))


@EVERY
def test_dry_run_leaves_nothing(argv):
    assert nets(*argv, "--dry-run") == 0
    assert os.listdir(".") == []


@pytest.mark.parametrize("name", ["autoencoder", "vae", "charrnn", "generate", "blur"])
def test_help_shows_examples_that_parse(name, capsys):
    with pytest.raises(SystemExit) as leaving:
        nets(name, "--help")
    out = capsys.readouterr().out
    assert leaving.value.code == 0 and f"examples:\n  python -m nets {name}" in out


class Stop(Exception):
    pass


@EVERY
def test_resumed_training_equals_uninterrupted_training_byte_for_byte(argv, monkeypatch):
    """Weights, optimiser, streams, the state between chunks, metrics, and every picture and text that was written."""
    assert nets(*argv, "--steps", "25", "--out", "whole") == 0
    loop = Run.loop

    def broken_after_21(self, start, steps, *, save=None, every=500):
        for step in loop(self, start, steps, save=save, every=7):
            if step == 22:
                raise Stop
            yield step

    with monkeypatch.context() as patch, contextlib.suppress(Stop):
        patch.setattr(Run, "loop", broken_after_21)
        nets(*argv, "--steps", "25", "--out", "broken")
    gc.collect()  # the lock goes with the run
    run = f"{argv[0]}-0001"
    assert not os.path.exists(f"broken/{run}/report.html")
    assert nets(argv[0], "--resume", f"broken/{run}") == 0
    same_runs(f"whole/{run}", f"broken/{run}")
    names = [os.path.join("samples", name) for name in os.listdir(f"whole/{run}/samples")] + ["metrics.jsonl"]
    assert len(names) > 2 and any(name.endswith(("_000020.png", "_000020.txt")) for name in names)
    assert filecmp.cmpfiles(f"whole/{run}", f"broken/{run}", names, shallow=False) == (names, [], [])


def test_a_run_of_each_kind_generates(capsys):
    for argv in (COMMANDS["vae"], COMMANDS["autoencoder"], COMMANDS["charrnn gru"]):
        assert nets(*argv, "--steps", "2") == 0
    capsys.readouterr()
    assert nets("generate", "runs/vae-0001", "--count", "5", "--out", "drawn") == 0 and os.path.getsize("drawn/grid.png")
    assert nets("generate", "runs/autoencoder-0001") == 0 and os.path.getsize("runs/autoencoder-0001/samples/grid.png")
    capsys.readouterr()
    texts = []
    for seed in ("0", "0", "1"):
        assert nets("generate", "charrnn-0001", "--prompt", "ROMEO:", "--length", "30", "--count", "2", "--seed", seed) == 0
        texts.append(capsys.readouterr().out)
    assert texts[0] == texts[1] != texts[2] and texts[0].count("ROMEO:") == 2
    likeliest = []
    for options in (["--temperature", "0"], ["--top-k", "1"]):
        assert nets("generate", "charrnn-0001", "--prompt", "ROMEO:", "--length", "9", *options) == 0
        likeliest.append(capsys.readouterr().out)
    assert likeliest[0] == likeliest[1]


def test_the_optimum_for_two_targets_is_their_mean():
    assert nets(*COMMANDS["blur"], "--steps", "2") == 0
    found = json.load(open("runs/blur-0001/blur.json"))
    assert found["largest difference from the mean"] <= 1e-6
    assert set(found["sharpness, real pictures 1"]) == {"real", "autoencoder, copies", "VAE, copies", "VAE, drawn", "mean of two"}
    assert found["sharpness, real pictures 1"]["mean of two"] < 1


def test_the_generator_of_a_gan_is_measured_beside_them(capsys):
    """The decoder's sizes come from its run; an option that says otherwise is refused. Averaged weights and last ones."""
    for number, options in enumerate((["--average", "100"], ["--average", "0"], ["--no-conditional"]), 1):
        tiny = ["--size", "8", "--batch", "4", "--width", "2", "--latent", "5", "--steps", "2", *options]
        assert command.main("gan", gan_main.COMMANDS, ["dcgan", *tiny]) == 0
        run = f"runs/dcgan-000{number}"
        assert nets("blur", "--gan", run, "--batch", "4", "--steps", "2") == 0
        config = json.load(open(f"runs/blur-000{number}/config.json"))
        assert (config["size"], config["width"], config["latent"], config["refine"]) == (8, 2, 5, 1)
        assert json.load(open(f"runs/blur-000{number}/blur.json"))["sharpness, real pictures 1"]["GAN, drawn"] > 0
    assert nets("blur", "--gan", run, "--width", "3") == 1
    assert "the decoders must be equal" in capsys.readouterr().err


def test_the_learning_rate_of_the_published_recipe():
    o = charrnn.options(["--preset", "published", "--steps", "21150"])
    assert (o.cell, o.hidden, o.layers, o.batch, o.length, o.optimizer) == ("lstm", 128, 2, 50, 50, "rmsprop")
    assert (o.rate, o.clip, o.held_out, o.dropout, o.embedding) == (2e-3, 5.0, 0.05, 0.0, 0)
    factor = charrnn.rates(o, epoch=423)
    assert factor(0) == factor(9 * 423) == 1
    assert factor(10 * 423) == pytest.approx(0.97) and factor(49 * 423) == pytest.approx(0.97**40)


@pytest.mark.parametrize("way, batch", [("end", 7), ("streams", 7), ("end", 1), ("streams", 1)])
def test_what_is_held_out_is_never_trained_on_and_nothing_is_lost(way, batch):
    o = charrnn.options(["--held-out", "0.2", "--held-out-from", way, "--batch", str(batch)])
    train, held_out = (set(part[:, 1:].ravel().tolist()) for part in charrnn.parted(np.arange(1000), o))
    assert not train & held_out and abs(len(held_out) - 200) <= batch and 1000 - len(train | held_out) <= 2 * batch


def test_pictures_without_a_test_set_are_split(capsys):
    np.savez("faces.npz", x=np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8))
    for name in ("npz:faces.npz", "npz:faces.npz#x"):
        for kind in ("autoencoder", "vae"):
            assert nets(kind, "--data", name, "--batch", "4", "--width", "2", "--latent", "3", "--steps", "2") == 0
    assert json.load(open("runs/vae-0001/config.json"))["likelihood"] == "gaussian"


@pytest.mark.parametrize("argv, status, message", [
    (["vea"], 2, "did you mean 'vae'"),
    (["vae", "--latnet", "3"], 2, "did you mean '--latent'"),
    (["vae", "--latent", "0"], 2, "must be an integer of at least 1"),
    (["vae", "--beta", "-1"], 2, "must be a finite number of at least 0"),
    (["vae", "--fall", "1.5"], 2, "must be a number between 0 and 1"),
    (["vae", "--data", "ring"], 1, "holds no images"),
    (["vae", "--size", "30"], 1, "28, 32 or 64"),
    (["vae", "--resume", "nowhere"], 1, "nowhere"),
    (["vae", "--data", "npz:none.npz"], 1, "none.npz"),
    (["vae", "--data", "npz:wide.npz"], 1, "make them square"),
    (["vae", "--data", "npz:three.npz", "--batch", "2"], 1, "too few"),
    (["autoencoder", "--refine", "-1"], 2, "must be an integer of at least 0"),
    (["autoencoder", "--rate", "0"], 2, "must be a number above 0"),
    (["autoencoder", "--rate", "nan"], 2, "must be a number above 0"),
    (["autoencoder", "--batch", "501"], 1, "--batch 501: glyphs has 500 pictures to train on; use --batch 500 or fewer"),
    (["charrnn", "--data", "mnist"], 1, "holds no text"),
    (["charrnn", "--data", "text:none.txt"], 1, "no such file"),
    (["charrnn", "--data", "text:short.txt"], 1, "do not fill"),
    (["charrnn", "--dropout", "1"], 2, "at least 0 and below 1"),
    (["charrnn", "--held-out", "0"], 1, "fewer than 2 on one side"),
    (["charrnn", "--held-out", "1"], 1, "fewer than 2 on one side"),
    (["charrnn", "--held-out", "0", "--held-out-from", "streams"], 1, "nothing on one side"),
    (["charrnn", "--prompt", "#"], 1, "does not know '#'"),
    (["generate", "nowhere"], 1, "nowhere"),
    (["generate", "classifier-0001"], 1, "nets charrnn, vae or autoencoder"),
    (["generate", "x", "--temperature", "-1"], 2, "must be a finite number of at least 0"),
    (["generate", "x", "--top-k", "0"], 2, "must be an integer of at least 1"),
    (["blur", "--gan", "nowhere"], 1, "nowhere"),
    (["blur", "--gan", "classifier-0001"], 1, "is no run of gan dcgan"),
])
def test_wrong_calls_are_told_in_one_line(argv, status, message, capsys):
    np.savez("wide.npz", x=np.zeros((40, 8, 9, 1), np.uint8))
    np.savez("three.npz", x=np.zeros((3, 8, 8, 1), np.uint8))
    with open("short.txt", "w") as file:
        file.write("To be, or not to be.\n" * 20)
    if "classifier-0001" in argv:
        assert nets("classifier", "--size", "16", "--width", "2", "--batch", "8", "--steps", "2") == 0
    try:
        found = nets(*argv)
    except SystemExit as leaving:
        found = leaving.code
    err = capsys.readouterr().err
    assert found == status and message in err and "Traceback" not in err


def test_options_of_another_kind_are_refused(capsys):
    assert nets(*COMMANDS["vae mlp"], "--steps", "2") == 0 and nets(*COMMANDS["charrnn"], "--steps", "2") == 0
    for argv, message in ((["vae-0001", "--prompt", "a"], "--prompt is not for"), (["vae-0001", "--top-k", "2"], "--top-k is not"),
                          (["charrnn-0001", "--out", "here"], "--out is not for"), (["charrnn-0001", "--prompt", "#"], "'#'")):
        assert nets("generate", *argv) == 1
        assert message in capsys.readouterr().err
