"""python -m gan evaluate RUN --judge CLASSIFIER: numbers for a generator, from a classifier trained here.

Prints, and writes to RUN/evaluation.json: the share of samples in each class, the mean confidence, and the Frechet
distance on the classifier's features between N samples and N training images, beside its floor (real against real).
The classifier is named with the fingerprint of its weights: another classifier is another metric.
"""

from __future__ import annotations

from gan.generate import generate, trained_generator
from gan.metrics import class_report, fingerprint, frechet_distance, judge
from minigrad import command, data
from minigrad.random import Stream
from minigrad.run import Run
from minigrad.words import histogram, percent, write_json
from nets.classifiers import trained


def main(argv=None):
    parser = command.Parser("gan evaluate", command.doc(__doc__, __file__), data=None, steps=None, run=False,
                            examples=["runs/dcgan-0001 --judge runs/classifier-0001"])
    parser.add_argument("run", type=command.path, metavar="RUN", help="a run of gan dcgan")
    parser.add_argument("--judge", required=True, metavar="RUN", help="a run of nets classifier on the same data")
    parser.add_argument("--count", type=command.TWO, default=10_000, help="samples to draw (at least 1000)")
    o = parser.parse(argv)
    run, other = Run.open(o.run), Run.open(o.judge)
    generator, classifier = trained_generator(run), trained(other)
    if run.config["data"] != other.config["data"]:
        raise ValueError(f"the judge was trained on {other.config['data']}, the generator on {run.config['data']}")
    count = o.count
    name = f"FD-lenet-{other.config['data']}-{fingerprint(classifier)}@{count}"

    fakes = generate(generator, Stream(o.seed, "evaluate").normal((count, run.config["latent"])))
    train, test = (data.load(run.config["data"], train=t, size=run.config["size"]) for t in (True, False))
    order = Stream(o.seed, "reference").permutation(len(train))
    reference = judge(classifier, train.subset(order[:count]).normalised())[0]
    floor = judge(classifier, train.subset(order[-count:]).normalised())[0]
    test_features, test_probabilities = judge(classifier, test.normalised())
    features, probabilities = judge(classifier, fakes)

    found = class_report(probabilities)
    result = {
        "metric": name,
        "judge_test_accuracy": float((test_probabilities.argmax(1) == test.y).mean()),
        "frechet_distance": frechet_distance(features, reference),
        "floor_train_train": frechet_distance(floor, reference),
        "floor_train_test": frechet_distance(test_features, reference),
        "confidence": found["confidence"],
        "confidence_real": class_report(test_probabilities)["confidence"],
        "confident": float((probabilities.max(1) > 0.9).mean()),
        "histogram": dict(zip(train.classes, found["histogram"], strict=True)),
        "entropy": found["entropy"],
    }
    write_json(run.file("evaluation.json"), result)

    print(f"{run.path}, step {run.step}, judged by {other.path} ({percent(result['judge_test_accuracy'], 2)} on the test set)")
    print(f"  {name}  {result['frechet_distance']:.2f}   floor: {result['floor_train_train']:.2f} train against train, "
          f"{result['floor_train_test']:.2f} test against train")
    print(f"  mean confidence {result['confidence']:.3f} (real images {result['confidence_real']:.3f}); "
          f"{percent(result['confident'])} of the samples above 0.9")
    print(histogram(result["histogram"]))
