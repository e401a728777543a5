"""python -m gan evaluate RUN --judge CLASSIFIER: numbers for a generator, from a classifier trained here.

Prints, and writes to RUN/evaluation.json: the share of samples in each class, the mean confidence, and the Frechet
distance on the classifier's features between N samples and N training images, beside its floor: the distance of N other
training images to the same N. No image is on both sides, so N is at most half of the training set. The distance is named
after all that it depends on, the network of the judge, its data, the fingerprint of its weights, and how many real images
and samples were compared: FD-lenet-mnist-1a2b3c-real10000@10000. Another name is another metric.
"""

from __future__ import annotations

from gan.generate import generate, trained_generator
from gan.metrics import class_report, disjoint, fingerprint, frechet_distance, judge
from minigrad import command, data, next_steps, report
from minigrad.random import Stream
from minigrad.run import Run
from minigrad.words import histogram, percent, write_json
from nets.classifiers import trained

FEW = 1000  # samples, below which the distance is mostly its floor


def main(argv=None):
    parser = command.Parser("gan evaluate", command.doc(__doc__, __file__), data=None, steps=None, run=False,
                            takes="5 seconds",
                            examples=["runs/dcgan-0001 --judge runs/classifier-0001"])
    parser.add_argument("run", type=command.path, metavar="RUN", help="a run of gan dcgan")
    parser.add_argument("--judge", type=command.path, required=True, metavar="RUN",
                        help="a run of nets classifier on the same data")
    parser.add_argument("--count", type=command.TWO, default=10_000, help="samples to draw, and to compare with as many "
                        "training images; with few the distance is mostly its floor")
    o = parser.parse(argv)
    run, other = Run.open(o.run), Run.open(o.judge)
    generator, classifier = trained_generator(run), trained(other)
    if run.config["data"] != other.config["data"]:
        raise ValueError(f"the judge was trained on {other.config['data']}, the generator on {run.config['data']}")

    train, test = (data.load(run.config["data"], train=t, size=run.config["size"],
                             skip_broken=run.config.get("skip_broken", False)) for t in (True, False))
    halves = disjoint(Stream(o.seed, "reference").permutation(len(train)), o.count)
    real, held = len(halves[0]), min(len(halves[0]), len(test))
    if real < o.count:
        print(f"--count {o.count}: the training set has {len(train)} images, so {real} samples are compared with {real} of them; "
              "the floor takes as many others")
    if real < FEW:
        print(f"{real} samples: below {FEW:,} the distance tells more of their number than of the generator; compare it with "
              "its floor only")
    name = f"FD-{other.config.get('network', 'lenet')}-{other.config['data']}-{fingerprint(classifier)}-real{real}@{real}"

    fakes = generate(generator, Stream(o.seed, "evaluate").normal((o.count, run.config["latent"])))
    reference, floor = (judge(classifier, train.subset(half).normalised())[0] for half in halves)
    test_features, test_probabilities = judge(classifier, test.normalised())
    features, probabilities = judge(classifier, fakes)

    found = class_report(probabilities)
    result = {
        "metric": name, "judge": other.name, "samples": o.count, "compared": real, "real_images": real, "test_images": held,
        "judge_test_accuracy": float((test_probabilities.argmax(1) == test.y).mean()),
        "frechet_distance": frechet_distance(features[:real], reference),
        "floor_train_train": frechet_distance(floor, reference),
        "floor_train_test": frechet_distance(test_features[:held], reference) if held > 1 else None,
        "confidence": found["confidence"],
        "confidence_real": class_report(test_probabilities)["confidence"],
        "confident": float((probabilities.max(1) > 0.9).mean()),
        "histogram": dict(zip(train.classes, found["histogram"], strict=True)),
        "entropy": found["entropy"],
    }
    write_json(run.file("evaluation.json"), result)

    print(f"{run.path}, step {run.step}, judged by {other.path} ({percent(result['judge_test_accuracy'], 2)} on the test set)")
    against = "-" if result["floor_train_test"] is None else f"{result['floor_train_test']:.2f}"
    print(f"  {name}  {result['frechet_distance']:.2f}   floor: {result['floor_train_train']:.2f} train against train, "
          f"{against} test against train" + (f" (only {held} test images)" if held < real else ""))
    print(f"  mean confidence {result['confidence']:.3f} (real images {result['confidence_real']:.3f}); "
          f"{percent(result['confident'])} of the samples above 0.9")
    print(histogram(result["histogram"]))
    report.again(run.path, next_steps.after(run.path))  # its page shows these numbers, too
