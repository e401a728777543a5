"""python -m nets classifier: LeNet learns to read, by cross-entropy; the test accuracy is printed and drawn.

With --turns it learns by how many quarters a picture was turned, which asks nothing but the pictures themselves (Gidaris, Singh &
Komodakis 2018, RotNet): a judge for `gan evaluate` where the data has no labels, such as faces.

Adam with a rate that rises over the first tenth and then falls to 0 along a line; batch norm and dropout
(nets/classifiers/lenet.py). The test set is looked at once per epoch and never trained on.
"""

from __future__ import annotations

import minigrad as mg
from minigrad import command, inputs, optim
from minigrad import functional as F
from minigrad.random import Streams
from minigrad.words import percent
from nets.classifiers.lenet import LeNet
from nets.commands.helpers.images import in_all_turns, train_and_held_out
from nets.training import evaluate, rise_and_fall, scheduled


def options(argv=None):
    parser = command.Parser(
        "nets classifier", "\n\n".join(command.doc(__doc__, __file__).split("\n\n")[:2]), steps=2_350,
        takes="70 seconds",
        examples=["", "--data mnist", "--data fashion-mnist --steps 6000", "--data folder:faces --size 64 --turns",
                  "--resume runs/classifier-0001"],
    )
    parser.add_argument("--size", type=command.COUNT, help="pixels; default: 28, or what the data has")
    parser.add_argument("--batch", type=command.COUNT, default=128, help="images in a batch")
    parser.add_argument("--width", type=command.COUNT, default=32, help="maps of the first convolution")
    parser.add_argument("--rate", type=command.POSITIVE, default=3e-3, help="Adam's largest learning rate")
    parser.add_argument("--smooth", type=command.FRACTION, default=0.0, help="label smoothing")
    parser.add_argument("--turns", action="store_true", help="learn how far a picture was turned, in place of labels")
    return parser.parse(argv)


def main(argv=None):
    o = options(argv)
    if o.turns:
        train, test = (in_all_turns(half) for half in train_and_held_out(o))
    else:
        train, test = (inputs.labelled(o, train=t, size=o.size) for t in (True, False))
    o.size, o.channels, o.classes = train.x.shape[2], train.x.shape[1], len(train.classes)
    run = command.start("classifier", o)
    streams = Streams(o.seed)
    loader = inputs.batches(train, o.batch, streams["data"])
    network = LeNet(o.channels, o.classes, o.size, o.width, rng=streams["init"]).to(o.device)
    adam = optim.Adam(network.parameters(), o.rate)
    kept = dict(network=network, adam=adam, loader=loader, streams=streams)
    run.restore(kept)
    schedule = scheduled(adam, run.follows(rise_and_fall, o.steps), run.step)

    batches, epoch = loader.forever(), len(loader)
    score = None
    for step in run.loop(run.step, o.steps, save=kept):
        images, labels = next(batches)
        logits = network(mg.tensor(images, device=o.device))
        loss = F.cross_entropy(logits, labels, label_smoothing=o.smooth)
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if run.due(step, 20):
            run.log(step, loss=loss, batch_accuracy=float((logits.array.argmax(1) == labels).mean()))
        if run.due(step, epoch, first=20):
            run.check_finite(step, network.named_parameters())
            score, mistakes = evaluate(network, test)
            run.log(step, test_accuracy=score)
            draw(run, step, test, mistakes[:50])
    if score is None:
        score, mistakes = evaluate(network, test)
    summary = {"test accuracy": f"{percent(score, 2)} of {len(test)}", "mistakes": len(mistakes)}
    run.finish(title=f"Classifier of {'turns of ' * o.turns}{o.data}", summary=summary)
    print(f"test accuracy {percent(score, 2)} ({len(test) - len(mistakes)} of {len(test)})")


def draw(run, step: int, test, mistakes) -> None:
    """The pictures that were taken for something else, and for what."""
    if mistakes:
        names = [f"{test.classes[test.y[i]]} as {test.classes[p]}" for i, p in mistakes]
        run.image(step, test.x[[i for i, _ in mistakes]], "mistakes", columns=10, labels=names)
