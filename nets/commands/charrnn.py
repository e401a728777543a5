"""python -m nets charrnn: a recurrent network learns to write a text letter by letter (Karpathy 2015).

It reads in chunks and carries its state from one to the next (truncated back-propagation). While it trains it writes: the same
first letters and the same random numbers each time, so what changes is the network. Presets:

published  char-rnn's defaults: two LSTM layers of 128, 50 streams of 50 characters, RMSprop 2e-3 with alpha 0.95, times 0.97 after
           each pass from the tenth on, gradients clipped to +-5, the last 5 % of each stream held out; 50 passes over tiny
           Shakespeare are 21,150 steps. That is an easier test than the end of the text: each play is partly known
"""

from __future__ import annotations

import math
import os

from minigrad import command, optim
from minigrad.checkpoint import atomic_write
from minigrad.random import Stream, Streams
from nets.text import corpus
from nets.text.charrnn import CELLS, Carried, CharRNN, Chunks, encode, evaluate, loss_of, side_by_side, write
from nets.training import scheduled

PRESETS = {
    "published": dict(cell="lstm", hidden=128, layers=2, embedding=0, dropout=0.0, batch=50, length=50, optimizer="rmsprop",
                      rate=2e-3, decay=0.97, fall=0.0, clip=5.0, held_out=0.05,
                      held_out_from="streams"),
}


def options(argv=None):
    parser = command.Parser(
        "nets charrnn", command.doc(__doc__, __file__), data=None, steps=2_000, presets=PRESETS,
        takes="50 seconds",
        examples=["", "--cell gru", "--data text:novel.txt --hidden 256 --steps 6000", "--data text:input.txt --preset published "
                  "--steps 21150", "--resume runs/charrnn-0001"],
    )
    add = parser.add_argument
    add("--data", default=corpus.BUILT_IN, metavar="NAME", help=f"{corpus.BUILT_IN} (Shakespeare's play, built in), or text:PATH")
    add("--held-out", type=command.FRACTION, default=0.1, help="share of the text that is never trained on")
    add("--held-out-from", choices=["end", "streams"], default="end", help="the text's end, or each stream's (char-rnn's way)")
    add("--cell", choices=list(CELLS), default="lstm", help="kind of recurrent layer")
    add("--hidden", type=command.COUNT, default=128, help="units of a layer")
    add("--layers", type=command.COUNT, default=2, help="recurrent layers, one on the other")
    add("--embedding", type=command.NATURAL, default=0, help="learned numbers for a character; 0: one-hot")
    add("--dropout", type=command.SHARE, default=0.2, help="share of the layers' outputs set to 0 while training")
    add("--batch", type=command.COUNT, default=50, help="streams of text side by side")
    add("--length", type=command.COUNT, default=50, help="characters of a chunk, over which gradients flow")
    add("--optimizer", choices=["adam", "rmsprop"], default="adam", help="RMSprop has alpha 0.95")
    add("--rate", type=command.POSITIVE, default=5e-3, help="learning rate")
    add("--decay", type=command.PART, default=1.0, help="factor on the rate after each pass over the text, from the tenth on")
    add("--fall", type=command.FRACTION, default=0.7, help="last part of training, over which the rate falls to 0")
    add("--clip", type=command.POSITIVE, default=5.0, help="greatest entry of a gradient")
    add("--prompt", metavar="TEXT", default="\n", help="what the samples begin with")
    return parser.parse(argv)


def main(argv=None):
    o = options(argv)
    text = corpus.load(o.data)
    train, held_out = parted(text.x, o)
    o.characters = "".join(text.classes)
    prompt = encode(o.prompt or "\n", o.characters)
    streams = Streams(o.seed)
    chunks, carried = Chunks(train, o.length), Carried(o.device)
    network = CharRNN(len(o.characters), o.hidden, o.layers, o.cell, o.embedding, o.dropout, rng=streams["init"]).to(o.device)
    run = command.start("charrnn", o)
    if o.optimizer == "adam":
        optimizer = optim.Adam(network.parameters(), o.rate)
    else:
        optimizer = optim.RMSprop(network.parameters(), o.rate, alpha=0.95)
    kept = dict(charrnn=network, optimizer=optimizer, chunks=chunks, carried=carried, streams=streams)
    run.restore(kept)
    schedule = scheduled(optimizer, rates(o, len(chunks)), run.step)
    size = sum(p.numel() for p in network.parameters())
    run.say(f"{size:,} parameters; {len(text):,} characters of {len(o.characters)} kinds, {held_out[:, 1:].size:,} held out; "
            f"{len(chunks)} steps a pass")

    for step in run.loop(run.step, o.steps, save=kept):
        codes, following, first = chunks.next()
        logits, state = network(codes, None if first else carried.state)
        carried.keep(state)
        loss = loss_of(logits, following)
        optimizer.zero_grad()
        loss.backward()
        optim.clip_grad_value_(network.parameters(), o.clip)
        optimizer.step()
        schedule.step()

        if run.due(step, 20):
            run.log(step, nats_train=loss)
        if run.due(step, 250, first=20):
            run.check_finite(step, network.named_parameters())
            run.log(step, nats_held_out=evaluate(network, held_out))
            written = write(network, prompt, 200, temperature=0.8, rng=Stream(o.seed, "sample"))[0]
            said = keep(run, step, o.prompt + text.text(written))
            run.say(f"---- after step {step}, {run.file('samples', 'latest.txt')}:\n{said}\n----")

    nats = evaluate(network, held_out)
    paragraph = o.prompt + text.text(write(network, prompt, 1000, temperature=0.8, rng=Stream(o.seed, "paragraph"))[0])
    summary = {"held-out loss": f"{nats:.4f} nats per character, {nats / math.log(2):.4f} bits", "parameters": f"{size:,}",
               "passes over the text": f"{o.steps / len(chunks):.1f}", "it writes, at temperature 0.8": paragraph.strip("\n")}
    summary |= {f"after step {step}": text for step, text in on_the_way(run)}
    run.finish(title=f"A network that writes like {o.data}", summary=summary)
    print(f"held-out loss {nats:.4f} nats per character ({nats / math.log(2):.4f} bits), {size:,} parameters")


def parted(codes, o):
    """The streams to train on (batch, n + 1), and those held out (S, m + 1)."""
    streams = side_by_side(codes, o.batch)
    if o.held_out_from == "end":
        border = len(codes) - round(o.held_out * len(codes))
        if min(border, len(codes) - border) < 2:
            raise ValueError(f"--held-out {o.held_out:g} of {len(codes)} characters leaves fewer than 2 on one side")
        held_out = codes[border:]
        return side_by_side(codes[:border], o.batch), side_by_side(held_out, max(1, min(20, len(held_out) // 200)))
    border = streams.shape[1] - 1 - round(o.held_out * (streams.shape[1] - 1))
    if not 0 < border < streams.shape[1] - 1:
        raise ValueError(f"--held-out {o.held_out:g} of {streams.shape[1] - 1} characters in a stream leaves nothing on one side")
    return streams[:, : border + 1], streams[:, border:]


def rates(o, epoch: int):
    """factor(t) for `scheduled`: the decay for each pass from the tenth on, and the fall to 0 at the end."""
    return lambda t: o.decay ** max(0, t // epoch - 9) * (min(1.0, (o.steps - t) / (o.fall * o.steps)) if o.fall else 1.0)


def keep(run, step: int, text: str) -> str:
    """Write samples/text_<step>.txt, and samples/latest.txt, a copy of it; returns the text without empty lines around it."""
    text = text.strip("\n")
    for name in (f"text_{step:06d}.txt", "latest.txt"):
        with atomic_write(run.file("samples", name)) as file:
            file.write(text.encode())
    return text


def on_the_way(run):
    """(step, text) of up to five samples, from the first to the last; also of sessions before this one."""
    names = sorted(name for name in os.listdir(run.file("samples")) if name.startswith("text_"))
    some = names if len(names) <= 5 else [names[round(i * (len(names) - 1) / 4)] for i in range(5)]
    for name in some:
        with open(run.file("samples", name), encoding="utf-8", newline="") as file:
            yield int(name[5:-4]), file.read()
