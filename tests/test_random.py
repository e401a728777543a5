"""Streams: independence of names, bit-exact resume, reproducibility across processes, ranges and distributions."""

import copy
import hashlib
import json
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad import random as mg_random
from minigrad.random import Generator, Stream, Streams, as_stream, default_generator

names = st.text(max_size=20)
seeds = st.integers(-(2**200), 2**200)
DRAWS = {
    "normal32": lambda s, n: s.normal(n),
    "normal64": lambda s, n: s.normal(n, np.float64),
    "uniform": lambda s, n: s.uniform(-1, 3, n),
    "integers": lambda s, n: s.integers(0, 1000, n),
    "integers32": lambda s, n: s.integers(0, 1000, n, dtype=np.int32),
    "permutation": lambda s, n: s.permutation(n),
    "bernoulli": lambda s, n: s.bernoulli(0.3, n),
}
draws = st.lists(st.tuples(st.sampled_from(sorted(DRAWS)), st.integers(0, 7)), max_size=6)


def follow(stream, plan):
    return [DRAWS[kind](stream, n) for kind, n in plan]


@given(seeds, names, draws, draws)
def test_state_survives_json_and_resumes_to_the_bit(seed, name, before, after):
    stream = Stream(seed, name)
    follow(stream, before)
    state = json.loads(json.dumps(stream.state_dict()))
    expected = follow(stream, after)
    other = Stream(seed + 1, name)
    other.load_state_dict(state)
    assert other.seed == seed
    for a, b in zip(follow(other, after), expected, strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b)


@given(seeds, st.lists(names, min_size=2, max_size=5, unique=True))
def test_names_and_seeds_have_their_own_numbers(seed, several):
    values = {tuple(Stream(seed, name).integers(0, 2**62, 3)) for name in several}
    values |= {tuple(Stream(seed + 1, name).integers(0, 2**62, 3)) for name in several}
    assert len(values) == 2 * len(several)


def test_seed_and_name_cannot_be_confused():
    assert Stream(1, "1a").integers(0, 2**62) != Stream(11, "a").integers(0, 2**62)
    assert Stream(-1, "a").integers(0, 2**62) != Stream(1, "a").integers(0, 2**62)
    assert Stream(0, "\ud800").integers(0, 2**62) != Stream(0, "?").integers(0, 2**62)


def test_key_is_sha256_of_seed_and_name():
    key = hashlib.sha256(b"ff\0init").digest()[:16]
    expected = np.random.Generator(np.random.Philox(key=np.frombuffer(key, "<u8"))).standard_normal(4)
    assert np.array_equal(Stream(255, "init").normal(4, np.float64), expected)


def test_same_numbers_in_every_process_whatever_the_hash_seed():
    code = "from minigrad.random import Streams; print(Streams(7)['données'].integers(0, 2**62, 4).tolist())"
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found = set()
    for hash_seed in ("0", "12345"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": root, "PYTHONUTF8": "1"}
        found.add(subprocess.run([sys.executable, "-c", code], env=environment, text=True, capture_output=True,
                                 check=True, encoding="utf-8").stdout.strip())
    assert found == {str(Stream(7, "données").integers(0, 2**62, 4).tolist())}


def test_streams_do_not_disturb_each_other():
    one, two = Streams(3), Streams(3)
    one["init"].normal(1000)
    assert np.array_equal(one["data"].permutation(50), two["data"].permutation(50))
    assert one["init"] is one["init"] and set(one) == {"init", "data"} and len(one) == 2 and "init" in one


def test_children_depend_on_name_and_seed_only():
    parent = Stream(5, "data")
    first = parent.child("epoch 3").normal(4)
    parent.normal(100)
    assert np.array_equal(first, parent.child("epoch 3").normal(4))
    assert np.array_equal(first, Stream(5, "data/epoch 3").normal(4))


@given(seeds, draws, draws)
def test_streams_resume_in_place_and_undrawn_ones_restart(seed, before, after):
    streams = Streams(seed)
    follow(streams["a"], before)
    state = json.loads(json.dumps(streams.state_dict()))
    expected = [follow(streams["a"], after), follow(streams["late"], after)]
    other = Streams(seed + 1)
    held = other["a"], other["late"]
    follow(other["late"], before)
    other.load_state_dict(state)
    assert other.seed == seed and held == (other["a"], other["late"])
    for stream, values in zip(held, expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(follow(stream, after), values, strict=True))
    assert np.array_equal(other["new"].normal(3), Stream(seed, "new").normal(3))


@pytest.mark.parametrize("damage", [
    lambda s: s.pop("seed"),
    lambda s: s.update(name="other"),
    lambda s: s.update(seed=1),
    lambda s: s.update(seed="0"),
    lambda s: s["state"].update(bit_generator="PCG64"),
    lambda s: s["state"].update(buffer_pos=9),
    lambda s: s["state"].update(buffer=[1, 2]),
    lambda s: s["state"].update(buffer=[-1, 2, 3, 4]),
    lambda s: s["state"]["state"].update(counter=[2**64, 0, 0, 0]),
    lambda s: s["state"]["state"].pop("key"),
])
def test_damaged_state_is_refused_and_changes_nothing(damage):
    stream = Stream(0, "a")
    stream.normal(3)
    before, state = stream.state_dict(), json.loads(json.dumps(stream.state_dict()))
    damage(state)
    with pytest.raises(ValueError, match="load_state_dict"):
        stream.load_state_dict(state)
    assert stream.state_dict() == before


def test_float32_normals_are_drawn_in_float32():
    expected = np.random.Generator(np.random.Philox(key=Stream(0, "a").generator.bit_generator.state["state"]["key"]))
    drawn = Stream(0, "a").normal((3, 4))
    assert drawn.dtype == np.float32
    assert np.array_equal(drawn, expected.standard_normal((3, 4), dtype=np.float32))
    assert Stream(0, "a").normal((), np.float64).dtype == np.float64
    shifted = Stream(0, "a").normal((3, 4), mean=1.0, std=2.0)
    assert shifted.dtype == np.float32 and np.allclose(shifted, drawn * 2 + 1)


def test_moments():
    n = 200_000
    stream = Stream(0, "moments")
    x = stream.normal(n).astype(float)
    assert abs(x.mean()) < 0.01 and abs(x.std() - 1) < 0.01 and abs((x**4).mean() - 3) < 0.1
    u = stream.uniform(2, 4, n).astype(float)
    assert abs(u.mean() - 3) < 0.01 and abs(u.var() - 4 / 12) < 0.01
    assert abs(stream.bernoulli(0.25, n).mean() - 0.25) < 0.005
    assert np.allclose(np.bincount(stream.integers(10, size=n)) / n, 0.1, atol=0.005)


@given(st.floats(-1e30, 1e30), st.floats(0, 1e30), st.integers(0, 2**32))
@settings(max_examples=60)
def test_uniform_is_half_open_also_after_rounding(low, width, seed):
    high = low + width
    values = Stream(seed, "u").uniform(low, high, 64)
    assert values.dtype == np.float32 and (values >= np.float32(low)).all()
    assert (values < np.float32(high)).all() or np.float32(low) == np.float32(high)
    assert isinstance(Stream(seed, "u").uniform(low, high), np.float32)


def test_bernoulli_is_certain_at_the_ends_and_broadcasts():
    stream = Stream(0, "b")
    assert not stream.bernoulli(0.0, 10_000).any() and stream.bernoulli(1.0, 10_000).all()
    assert stream.bernoulli(0.3, 10).dtype == np.bool_ and stream.bernoulli(np.nextafter(0.0, 1.0), 10).sum() == 0
    assert stream.bernoulli(0.5, (2, 3), np.float32).dtype == np.float32
    rows = stream.bernoulli(np.array([[0.0], [1.0]]), (2, 50))
    assert not rows[0].any() and rows[1].all()
    assert stream.bernoulli(np.array([0.0, 1.0])).tolist() == [False, True]


def test_as_stream():
    stream = Stream(0, "a")
    assert as_stream(stream) is stream
    generator = np.random.default_rng(1)
    wrapped = as_stream(generator)
    assert wrapped.generator is generator
    assert np.array_equal(wrapped.normal(3, np.float64), np.random.default_rng(1).standard_normal(3))
    state = json.loads(json.dumps(wrapped.state_dict()))
    expected = wrapped.normal(5)
    wrapped.load_state_dict(state)
    assert np.array_equal(wrapped.normal(5), expected)
    assert as_stream(None) is as_stream() is default_generator
    with pytest.raises(ValueError, match="no seed"):
        wrapped.child("x")


@pytest.mark.parametrize("call, error, words", [
    (lambda: Stream(1.5), TypeError, "1.5"),
    (lambda: Stream(True), TypeError, "integer"),
    (lambda: Stream(0, 3), TypeError, "string"),
    (lambda: Streams("0"), TypeError, "seed"),
    (lambda: Stream(0).normal(3, np.float16), TypeError, "float16"),
    (lambda: Stream(0).uniform(2, 1, 3), ValueError, "low=2"),
    (lambda: Stream(0).bernoulli(1.5, 3), ValueError, "1.5"),
    (lambda: Stream(0).bernoulli(float("nan"), 3), ValueError, "nan"),
    (lambda: as_stream(7), TypeError, "int"),
    (lambda: Streams(0).load_state_dict({"seed": 0}), ValueError, "streams"),
])
def test_wrong_calls_say_what_is_wrong(call, error, words):
    with pytest.raises(error, match=words):
        call()


# ---- the default stream

UNSEEDED = {
    "linear": lambda: nn.Linear(3, 4).weight.array, "conv": lambda: nn.Conv2d(2, 3, 3).bias.array,
    "lstm": lambda: nn.LSTM(2, 3).weight_hh_l0.array, "embedding": lambda: nn.Embedding(4, 2).weight.array,
    "init": lambda: nn.init.orthogonal_(nn.Parameter(np.zeros((3, 3), np.float32))).array,
    "truncated": lambda: nn.init.trunc_normal_(nn.Parameter(np.zeros((3, 3), np.float32))).array,
    "dropout": lambda: nn.Dropout()(mg.ones(50)).array, "function": lambda: mg.functional.dropout(mg.ones(50)).array,
    "between layers": lambda: nn.LSTM(2, 3, 2, dropout=0.5)(mg.ones(2, 1, 2))[0].detach().array,
    "as_stream": lambda: as_stream().normal(5),
}


@pytest.mark.parametrize("draw", UNSEEDED.values(), ids=list(UNSEEDED))
def test_manual_seed_decides_what_is_drawn_without_rng(draw):
    first, other, again = (mg_random.manual_seed(seed) and np.array(draw()) for seed in (5, 6, 5))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    state = json.loads(json.dumps(mg_random.get_rng_state()))
    expected = np.array(draw())
    mg_random.set_rng_state(state)
    assert np.array_equal(draw(), expected)


def test_layers_made_before_manual_seed_and_copies_of_them_follow_it():
    layer = nn.Dropout()
    clone = copy.deepcopy(layer)
    masks = [mg_random.manual_seed(3) and kept(mg.ones(40)).tolist() for kept in (layer, clone, layer)]
    assert masks[0] == masks[1] == masks[2]
    assert pickle.loads(pickle.dumps(default_generator)) is copy.copy(default_generator) is default_generator


def test_manual_seed_is_the_same_in_every_process_and_leaves_streams_alone():
    code = "from minigrad.random import *; print(manual_seed(9).normal(3).tolist())"
    out = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(2)]
    mine = Stream(0, "mine")
    assert out[0] == out[1] == f"{mg_random.manual_seed(9).normal(3).tolist()}\n" and mg_random.initial_seed() == 9
    assert np.array_equal(mine.normal(4), Stream(0, "mine").normal(4))


def test_threads_share_the_default_stream_and_lose_nothing():
    mg_random.manual_seed(1)
    drawn = []
    threads = [threading.Thread(target=lambda: drawn.extend(as_stream().normal(3).tolist() for _ in range(50))) for _ in range(4)]
    [t.start() for t in threads], [t.join() for t in threads]
    mg_random.manual_seed(1)
    assert sorted(drawn) == sorted(as_stream().normal(3).tolist() for _ in range(200))


def test_generator_is_pytorchs():
    g = Generator().manual_seed(4)
    first = g.normal(3)
    state = g.get_state()
    rest = g.normal(3)
    g.set_state(state)
    assert np.array_equal(g.normal(3), rest) and g.initial_seed() == 4
    assert np.array_equal(g.manual_seed(4).normal(3), first) and as_stream(g) is g
