"""--epsilon means one thing in every command: in Linf 8, 8/255 and 0.0314 of the range are one radius; and every example parses."""

import argparse
import contextlib
import io
import json
import shlex

import numpy as np
import pytest

from attacks.commands.helpers.setting import in_words, radius
from minigrad.run import Run
from tests.parsers import COMMANDS, PACKAGES, parser_of


def parse(parser, *words):
    """(options, what was printed), or (None, the error of usage)."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            return parser.parse(list(words)), out.getvalue()
        except SystemExit as leaving:
            assert leaving.code == 2
            return None, out.getvalue()


def lengths(parser):
    return [action.dest for action in parser._actions if action.dest in ("epsilon", "step")]


def norms(parser):
    action = next((a for a in parser._actions if a.dest == "norm"), None)
    return list(action.choices) if action else ["linf"]


LINF = {"8": 8 / 255, "8.0": 8 / 255, "8/255": 8 / 255, "0.03": 0.03, "1": 1 / 255, "254": 254 / 255, "0.999": 0.999}


@pytest.mark.parametrize("name", PACKAGES["attacks"])
def test_a_length_means_the_same_in_every_command(name):
    parser = parser_of("attacks", name)
    for option in lengths(parser):
        for norm in norms(parser):
            typed = ["--norm", norm] if norm != "linf" or "norm" in {a.dest for a in parser._actions} else []
            if norm == "linf":
                for text, value in LINF.items():
                    o, said = parse(parser, *typed, f"--{option}", text)
                    assert getattr(o, option) == pytest.approx(value, rel=1e-12), (text, said)
                    assert option != "epsilon" or f"epsilon {in_words(value)}\n" in said
                for text in ("255", "1000"):
                    o, said = parse(parser, f"--{option}", text, *typed)  # in either order
                    assert o is None and f"--{option}" in said and "8/255" in said
            else:
                for text, value in {"8": 8, "0.5": 0.5, "1000": 1000, "8/255": 8 / 255}.items():
                    o, said = parse(parser, f"--{option}", text, *typed)
                    if norm == "l0" and value != int(value):
                        assert o is None and "number of pixels" in said
                    else:
                        assert getattr(o, option) == value and "epsilon" not in said
            help_text = next(a.help for a in parser._actions if a.dest == option)
            assert "8 is 8/255" in help_text and "grey levels" in help_text and "L2" in help_text


def test_a_meaning_is_its_own_meaning():
    """What config.json holds is read as typed when a run is resumed."""
    for norm in ("linf", "l2", "l1"):
        for value in np.linspace(1e-3, 254.9, 300):
            once = radius("epsilon", float(value), norm)
            assert radius("epsilon", once, norm) == once
    with pytest.raises(argparse.ArgumentTypeError, match="whole range"):
        radius("epsilon", 255.0)


def test_the_words():
    assert in_words(8 / 255) == "8/255 = 0.0314 of the range" and in_words(0.3) == "0.3 of the range = 76.5/255"


def test_resuming_takes_either_way_of_typing(tmp_path):
    run = Run.create("trained-fast", {"norm": "linf", "epsilon": 8 / 255, "steps": 5, "data": "glyphs", "seed": 0}, tmp_path,
                     quiet=True, kind="attacks train")
    run.close()
    parser = parser_of("attacks", "train")
    for text in ("8", "8/255"):
        assert parse(parser, "--resume", run.path, "--epsilon", text)[0].epsilon == 8 / 255
    with pytest.raises(ValueError, match="was made with 0.0313"):
        parser.parse(["--resume", run.path, "--epsilon", "9"])


def test_a_panda_takes_whole_grey_levels():
    from attacks.commands import panda

    assert panda.options(["--epsilon", "2"]).epsilon == panda.options([]).epsilon == panda.options(["--epsilon", "2/255"]).epsilon
    with pytest.raises(SystemExit):
        panda.options(["--epsilon", "0.003"])
    for levels in range(1, 255):
        assert int(levels / 255 * 255 + panda.NEARLY) == levels


# ---- the examples of --help


@pytest.mark.parametrize("package, name", COMMANDS)
def test_every_example_of_help_parses(package, name):
    parser = parser_of(package, name)
    lines = (parser.epilog or "").splitlines()[1:]
    assert lines, "every command shows an example"
    for line in lines:
        words = shlex.split(line)
        assert words[:4] == ["python", "-m", package, name], line
        if "--resume" in words:
            parser.parse_args(words[4:])
        else:
            o, said = parse(parser, *words[4:])
            assert o is not None, f"{line}: {said}"


@pytest.mark.parametrize("name", [n for n, (module, _) in PACKAGES["attacks"].items() if module == "attacks.commands.attack"])
def test_examples_of_attacks_are_of_their_kind(name):
    """A radius is shown only to attacks that stay within one, in the size of their norm; a target only where one can be named."""
    from attacks.commands.helpers.catalogue import ATTACKS
    from attacks.commands.helpers.setting import EPSILON

    attack, parser = ATTACKS[name], parser_of("attacks", name)
    for line in parser.epilog.splitlines()[1:]:
        o, _ = parse(parser, *shlex.split(line)[4:])
        assert (o.epsilon is not None) <= ("threat" in attack.takes)
        if o.epsilon is not None:
            assert 0.1 * EPSILON[1][o.norm] <= o.epsilon <= EPSILON[1][o.norm]
        assert json.dumps({k: v for k, v in vars(o).items()})
