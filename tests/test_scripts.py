"""Scripts written in PyTorch's names run here with their imports changed and nothing else, and come to the same losses."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent / "scripts"
IMPORTS = [  # the only lines that change
    (r"^import torch$", "import minigrad as torch"), (r"^import torch\.(\S+) as (\w+)$", r"import minigrad.\1 as \2"),
    (r"^from torch(\.\S+)? import (.+)$", r"from minigrad\1 import \2"),
]


def imports_changed(text):
    lines = text.splitlines()
    for pattern, to in IMPORTS:
        lines = [re.sub(pattern, to, line) for line in lines]
    return "\n".join(lines)


def run(text, folder, monkeypatch):
    """The names that the script leaves behind, and what it printed. What it puts in the library's place is taken back."""
    monkeypatch.setenv("WGAN_GP_FOLDER", str(folder))
    names, out = {"__name__": "__main__"}, io.StringIO()
    with contextlib.redirect_stdout(out):
        code = compile(text, "script", "exec")
        library = __import__("minigrad" if "minigrad" in text else "torch")
        kept = {name: getattr(library, name) for name in ("rand", "randn")}
        try:
            exec(code, names)
        finally:
            for name, value in kept.items():
                setattr(library, name, value)
    return names, out.getvalue()


def start(path):
    """The same weights and noise for both libraries."""
    rng = np.random.default_rng(0)
    shapes = {"G.main.0.weight": (8, 16, 4, 4), "G.main.1.weight": (16,), "G.main.1.bias": (16,), "G.main.3.weight": (16, 8, 4, 4),
              "G.main.4.weight": (8,), "G.main.4.bias": (8,), "G.main.6.weight": (8, 1, 4, 4), "G.main.6.bias": (1,),
              "D.conv1.weight": (8, 1, 4, 4), "D.conv1.bias": (8,), "D.conv2.weight": (16, 8, 4, 4), "D.conv2.bias": (16,),
              "D.norm.weight": (16,), "D.norm.bias": (16,), "D.score.weight": (1, 256), "D.score.bias": (1,), "noise": (16, 8)}
    np.savez(path, **{k: rng.normal(0, 1 if k == "noise" else 0.1, s).astype(np.float32) + ("norm.weight" in k)
                      for k, s in shapes.items()})


def test_a_wgan_gp_runs_with_its_imports_changed(tmp_path, monkeypatch):
    text = (FOLDER / "wgan_gp.py").read_text(encoding="utf-8")
    changed = imports_changed(text)
    differing = [(a, b) for a, b in zip(text.splitlines(), changed.splitlines(), strict=True) if a != b]
    assert len(differing) == 6 and all(a.startswith(("import torch", "from torch")) for a, _ in differing)
    assert "torch" not in re.sub(r"\btorch\.|as torch", "", "".join(b for _, b in differing))
    names, out = run(changed, tmp_path, monkeypatch)
    again, _ = run(changed, tmp_path, monkeypatch)
    assert len(names["losses"]) == 8 and "Loss_D" in out and np.isfinite(names["losses"]).all()
    assert names["losses"] == again["losses"]  # manual_seed
    assert type(names["netG"]).__mro__[1].__module__ == "minigrad.nn.module"


def test_it_comes_to_pytorchs_losses(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    text = (FOLDER / "wgan_gp.py").read_text(encoding="utf-8")
    found = []
    for folder, code in (("theirs", text), ("ours", imports_changed(text))):
        (tmp_path / folder).mkdir()
        start(tmp_path / folder / "start.npz")
        found.append(run(code, tmp_path / folder, monkeypatch)[0])
    np.testing.assert_allclose(found[0]["losses"], found[1]["losses"], rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(found[0]["sample"], found[1]["sample"], atol=5e-3)
