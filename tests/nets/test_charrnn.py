"""The network that writes: state carried over chunks, gradients that stop there, letters drawn as asked, the text that it reads."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.data import DataError
from minigrad.random import Stream
from nets.text import corpus
from nets.text.charrnn import CELLS, Carried, CharRNN, Chunks, choose, encode, evaluate, loss_of, side_by_side, write

CELL = pytest.mark.parametrize("cell", list(CELLS))
INPUT = pytest.mark.parametrize("embedding", [0, 3])


def network(cell="lstm", embedding=0, characters=7, **options):
    return CharRNN(characters, 5, 2, cell, embedding, rng=Stream(0, "init"), **options)


def codes(*shape, characters=7, seed=0):
    return Stream(seed, "codes").integers(0, characters, shape)


# ---- the network


def test_weights_begin_as_in_char_rnn():
    net = CharRNN(65, 128, 2, rng=Stream(0, "init"))
    assert sum(p.numel() for p in net.parameters()) == 240_321
    for name, value in net.state_dict().items():
        forget = value[128:256] if "bias_ih" in name else value[:0]
        rest = np.concatenate([value[:128], value[256:]]) if "bias_ih" in name else value
        assert (forget == 1).all() and np.abs(rest).max() <= 0.08, name
        assert rest.std() == pytest.approx(0.08 / math.sqrt(3), rel=0.2)


@CELL
@INPUT
def test_carried_state_equals_one_long_sequence(cell, embedding):
    """The network in chunks of 1, 4 and 5 characters, and over all 10 at once."""
    net, x = network(cell, embedding), codes(3, 10)
    whole, end = net(x)
    parts, state = [], None
    for a, b in ((0, 1), (1, 5), (5, 10)):
        logits, state = net(x[:, a:b], state)
        parts.append(logits.array)
    np.testing.assert_allclose(np.concatenate(parts, 1), whole.array, rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(state, end, strict=True):
        np.testing.assert_allclose(ours.array, theirs.array, rtol=1e-5, atol=1e-6)


@CELL
def test_the_gradient_stops_at_the_border_of_a_chunk(cell):
    """With a kept state, the second chunk's gradient is that of a state which is a constant; without the cut it is another one."""
    net, x, y = network(cell), codes(3, 8), codes(3, 8, seed=1)
    parameters = list(net.parameters())

    def second(cut):
        _, state = net(x[:, :4])
        if cut:
            carried = Carried()
            carried.keep(state)
            assert all(not part.requires_grad for part in carried.state)
            state = carried.state
        return mg.grad(loss_of(net(x[:, 4:], state)[0], y[:, 4:]), parameters)

    with mg.no_grad():
        constant = tuple(mg.tensor(part.array) for part in net(x[:, :4])[1])
    wanted = mg.grad(loss_of(net(x[:, 4:], constant)[0], y[:, 4:]), parameters)
    for a, b in zip(second(cut=True), wanted, strict=True):
        np.testing.assert_array_equal(a.array, b.array)
    assert any(np.abs(a.array - b.array).max() > 1e-4 for a, b in zip(second(cut=False), wanted, strict=True))


def test_one_hot_and_an_embedding_of_the_identity_are_one():
    a, b = network(embedding=0), network(embedding=7)
    b.load_state_dict({**a.state_dict(), "embedding.weight": np.eye(7, dtype=np.float32)})
    np.testing.assert_allclose(a(codes(2, 5))[0].array, b(codes(2, 5))[0].array, rtol=1e-5, atol=1e-6)


def test_a_guess_that_knows_nothing_costs_log_of_the_characters():
    logits = mg.tensor(np.zeros((2, 3, 7), np.float32))
    assert loss_of(logits, codes(2, 3)).item() == pytest.approx(math.log(7))


def test_unknown_cells_are_refused():
    with pytest.raises(ValueError, match="lstm, gru"):
        network("rnn")


# ---- chunks


def cut(n=100, batch=2, length=7, seed=0):
    return Chunks(side_by_side(codes(n, seed=seed), batch), length)


@given(st.integers(30, 200), st.integers(1, 4), st.integers(1, 7))
def test_chunks_read_every_stream_in_order_and_the_target_is_the_next_character(n, batch, length):
    chunks = Chunks(side_by_side(np.arange(n), batch), length)
    inputs, targets, fresh = zip(*(chunks.next() for _ in range(len(chunks))))
    stream = (n - 1) // batch
    expected = np.arange(batch)[:, None] * stream + np.arange(stream // length * length)
    np.testing.assert_array_equal(np.concatenate(inputs, 1), expected)
    np.testing.assert_array_equal(np.concatenate(targets, 1), expected + 1)
    assert fresh == (True,) + (False,) * (len(chunks) - 1)
    assert chunks.next()[2] and chunks.epoch == 1 + (len(chunks) == 1)


def test_chunks_go_on_where_they_were_saved():
    first = cut()
    for _ in range(9):
        first.next()
    other = cut()
    other.load_state_dict(first.state_dict())
    for _ in range(20):
        for a, b in zip(first.next(), other.next()):
            np.testing.assert_array_equal(a, b)
    assert first.epoch == other.epoch > 1


@pytest.mark.parametrize("other", [cut(seed=5), cut(batch=4), cut(length=6)])
def test_chunks_of_another_text_are_not_gone_on_with(other):
    with pytest.raises(ValueError, match="another text"):
        cut().load_state_dict(other.state_dict())


def test_a_text_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="do not fill a chunk of 4"):
        cut(20, 5, 4)
    with pytest.raises(ValueError, match="too short for 9 streams"):
        side_by_side(codes(9), 9)


@CELL
def test_the_state_between_chunks_can_be_saved(cell):
    carried, again = Carried(), Carried()
    again.load_state_dict(carried.state_dict())
    assert again.state is None
    carried.keep(network(cell)(codes(3, 4))[1])
    again.load_state_dict(carried.state_dict())
    for a, b in zip(carried.state, again.state, strict=True):
        np.testing.assert_array_equal(a.array, b.array)


def test_the_held_out_loss_is_the_mean_over_every_character():
    """In one stream it is the loss of the whole text at once, whatever the chunks; dropout is off, and the mode restored."""
    net, text = network(dropout=0.5).train(), codes(101)
    was = loss_of(net.eval()(text[None, :-1])[0], text[None, 1:]).item()
    net.train()
    for length in (100, 33, 7):
        assert evaluate(net, side_by_side(text, 1), length=length) == pytest.approx(was, rel=1e-5)
    assert net.training and net.drop.training
    assert evaluate(net, side_by_side(text[:2], 1)) > 0


# ---- letters


LOGITS = st.lists(st.floats(-30, 30), min_size=2, max_size=8)


@given(LOGITS, st.integers(0, 1000))
def test_temperature_towards_0_is_the_likeliest(values, seed):
    logits, u = np.array([values] * 50), Stream(seed, "u").uniform(size=50)
    assert (choose(logits, 0, None, u) == np.argmax(values)).all()
    if np.sort(values)[-1] - np.sort(values)[-2] > 1e-3:
        assert (choose(logits, 1e-6, None, u) == np.argmax(values)).all()


@given(LOGITS, st.integers(1, 8), st.floats(0.1, 100), st.integers(0, 1000))
def test_top_k_never_draws_another(values, k, temperature, seed):
    u = np.append(Stream(seed, "u").uniform(size=200), np.float32([0, 1 - 2**-24]))
    drawn = choose(np.array([values] * len(u)), temperature, k, u)
    allowed = np.argsort(-np.array(values), kind="stable")[:k]
    assert set(drawn.tolist()) <= set(allowed.tolist())


@pytest.mark.parametrize("temperature, k", [(1.0, None), (0.5, None), (2.0, 3)])
def test_letters_come_as_often_as_the_softmax_says(temperature, k):
    logits = np.array([1.0, -0.5, 0.3, 2.0])
    p = np.exp(logits / temperature) * (logits >= np.sort(logits)[::-1][(k or 4) - 1])
    drawn = choose(np.tile(logits, (100_000, 1)), temperature, k, Stream(0, "u").uniform(size=100_000))
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 1e5, p / p.sum(), atol=0.006)


@pytest.mark.parametrize("temperature, k", [(-1, None), (float("nan"), None), (1, 0)])
def test_impossible_draws_are_refused(temperature, k):
    with pytest.raises(ValueError, match="must be at least"):
        choose(np.zeros((1, 3)), temperature, k, np.zeros(1))


@CELL
def test_writing_repeats_by_its_seed_and_follows_the_prompt(cell):
    net = network(cell, dropout=0.5).train()

    def written(seed, **options):
        return write(net, codes(4), 12, 3, rng=Stream(seed, "w"), **options)

    np.testing.assert_array_equal(written(0), written(0))
    assert (written(0) != written(1)).any() and net.training
    best = written(0, temperature=0)
    assert (best == best[:1]).all()
    text = codes(4).tolist()
    for code in best[0]:  # letter by letter over the whole text so far
        with mg.no_grad():
            logits, _ = net.eval()(np.array([text]))
        assert logits.array[0, -1].argmax() == code
        text.append(int(code))


def test_characters_never_seen_are_named():
    with pytest.raises(ValueError, match=r"does not know '!', 'z'.*seen only: \\nab"):
        encode("abz!", "\nab")
    np.testing.assert_array_equal(encode("ba", "\nab"), [2, 1])


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="at least one character"):
        write(network(), codes(0), 3, rng=Stream(0, "w"))


# ---- the text


def test_the_play_is_whole_and_small():
    play = corpus.load(corpus.BUILT_IN)
    assert len(play) == 133_465 < 200_000 and len(play.classes) == 61
    assert play.text(play.x[:9]) == "SAMPSON:\n" and play.text(play.x[-35:]) == "Than this of Juliet and her Romeo.\n"


def test_other_texts_and_what_is_none(tmp_path):
    (tmp_path / "a.txt").write_text("abcdefghij" * 10)
    assert len(corpus.load(f"text:{tmp_path / 'a.txt'}")) == 100
    with pytest.raises(ValueError, match="holds no text"):
        corpus.load("mnist")
    with pytest.raises(DataError, match="no such file"):
        corpus.load(f"text:{tmp_path / 'b.txt'}")
