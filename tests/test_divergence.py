"""A loss beyond all sense ends training with status 3, in every command, and no loss that makes sense does."""

import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import command
from minigrad.divergence import MOST, DivergedError, NonFiniteError, diverged
from minigrad.run import Run
from nets.training import fit

ROOT = Path(__file__).resolve().parent.parent
ALLOWED = ("accuracy", "probability", "modes", "high_quality", "agreement", "transfer", "confidence", "rate", "kl", "coverage",
           "pixels", "alpha", "balance")


def logged():
    """(file, name of a number) of every call of `run.log` in the commands."""
    for path in sorted(p for package in ("nets", "gan", "attacks") for p in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "log" \
                    and getattr(node.func.value, "id", "") == "run":
                yield from ((path.name, word.arg) for word in node.keywords if word.arg)


def test_every_command_names_its_losses_so_that_they_are_watched():
    found = list(logged())
    assert len(found) > 15
    unknown = [(file, name) for file, name in found if not name.startswith(tuple(MOST)) and not any(w in name for w in ALLOWED)]
    watched = {file for file, name in found if name.startswith(tuple(MOST))}
    assert {"classifier.py", "autoencoder.py", "vae.py", "charrnn.py", "dcgan.py", "toy.py", "train.py", "rho.py"} <= watched
    assert unknown == [], "a loss is named loss_..., error_... or nats_...; other numbers are to be named here"


@given(st.floats(1e-3, 1e3), st.sampled_from([-1, 1]), st.sampled_from(["", "_train", "_held_out"]))
def test_the_bounds(factor, sign, ending):
    for kind, most in MOST.items():
        found = diverged({"step": 10**9, kind + ending: sign * factor * most, "accuracy": 1e30})
        assert bool(found) == (factor * most > most) and all(text.startswith(kind + ending) for text in found)


def test_training_that_diverges_ends_with_status_3_and_keeps_what_was_good(tmp_path, capsys, monkeypatch):
    def main(argv):
        run = Run.create("wild", {}, tmp_path, command="python -m nets wild")
        for step in run.loop(0, 30, save={}, every=5):
            run.log(step, loss=10.0**step)

    monkeypatch.setattr(command.importlib, "import_module", lambda name: type("M", (), {"main": staticmethod(main)}))
    assert command.main("nets", {"wild": ("wild", "")}, ["wild"]) == 3
    said = capsys.readouterr().err
    assert "step 7: diverged: loss = 1e+07, a loss beyond 1e+06; the last good checkpoint is" in said
    assert "Lower the learning rate" in said
    lines = (tmp_path / "wild-0001" / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == 6


def test_a_network_of_an_exhibit_that_diverges():
    net = mg.nn.Linear(2, 1)
    images, labels = np.ones((4, 2), np.float32), None
    with pytest.raises(DivergedError, match="diverged: loss") as caught:
        fit(net, lambda x, y, step: (net(mg.tensor(x)) ** 4).mean(), iter(lambda: (images, labels), 0), 100, rate=1e6)
    assert isinstance(caught.value, NonFiniteError) and caught.value.step <= 41


def test_losses_of_critics_are_no_divergence():
    """The value of a critic on points in the plane, trained for 300 steps at a large rate without any bound on its slope."""
    rng = np.random.default_rng(0)
    layers = [mg.nn.Linear(2, 64), mg.nn.LeakyReLU(0.2), mg.nn.Linear(64, 64), mg.nn.LeakyReLU(0.2), mg.nn.Linear(64, 1)]
    critic = mg.nn.Sequential(*layers)
    adam, largest = mg.optim.Adam(critic.parameters(), 1e-2), 0.0
    for _ in range(300):
        real, fake = (mg.tensor(rng.normal(at, 1, (64, 2)).astype(np.float32)) for at in (2, -2))
        loss = critic(fake).mean() - critic(real).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        largest = max(largest, abs(loss.item()))
        assert diverged({"loss_d": loss.item()}) == []
    assert largest > 1e5  # it has run away indeed
