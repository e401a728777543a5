"""What the numbers of a run mean: one sentence for each, and the value that theory gives for it, where it does.

    meaning("loss_d")                                 "The discriminator's loss: ..."
    references({"loss": "non_saturating"})            {"loss_d": (1.386, "2 log 2", "where neither player can gain"), ...}

A name with a stroke belongs to a family: "gradient_d/conv1" is explained by "gradient_d/".

Imports: the standard library.
"""

from __future__ import annotations

import math

__all__ = ["TERMS", "meaning", "references"]

TERMS = {
    # two networks play
    "loss_d": "The discriminator's loss: small when it tells real pictures from drawn ones. It says who is ahead, not how good "
              "the pictures are.",
    "loss_g": "The generator's loss: small when its pictures pass for real. It is measured by an opponent that learns too, so it "
              "need not fall while the pictures get better.",
    "probability_real": "How likely D holds real pictures of this batch to be real, on average. 1 would be certainty, 0.5 a guess.",
    "probability_fake": "The same for pictures that the generator drew. At 0.5 for both, D cannot tell one from the other.",
    "gradient_d/": "Length of the gradient at each layer of the discriminator. Near 0 a layer does not learn; a curve that climbs "
                   "for long is one that may run away.",
    "gradient_g/": "The same for the generator. When the discriminator is too good, all of these fall towards 0.",
    "augmented": "How often each change is made to what D sees. It rises while D is too sure of real pictures.",
    "health/": "What the diagnosis goes by. sure: the share that D tells rightly; 1 is too good. diversity, repeats: how much "
               "samples differ; real pictures 1, a collapse 0. push: the gradient at the generator; its largest so far 1. memory: "
               "0 where D takes held-out pictures as it takes training ones, 1 where it takes them for drawn. wander, grid: 1 is "
               "usual. Of a translator, each for its way, _ab or _ba; push is then the judge's gradient at the translation.",
    "modes": "How many of the data's clusters at least one good sample fell into.",
    "high_quality": "Share of samples within three standard deviations of some cluster.",
    "reverse_kl": "How unevenly samples are spread over the clusters: 0 is the data's own spread.",
    "pixels": "Height of the pictures that are trained on now.",
    "alpha": "How far the new level is faded in: 0 is not at all, 1 fully.",
    "loss_adversarial": "The translators' loss for being caught by the two judges: (D - 1)^2 at translations, both ways.",
    "loss_cycle": "How far a picture that went there and back is from what it was, in the loss's weight.",
    "loss_identity": "How far a translator changes a picture that is of the other kind already, in the loss's weight.",
    "fooled_ab": "Share of translations of the first kind that a classifier takes for the second kind.",
    "fooled_ba": "The same of the way from the second kind to the first.",
    "back_ab": "How far a picture of the first kind is from itself after the way there and back: mean over pixels from -1 to 1.",
    "back_ba": "The same of pictures of the second kind.",
    "partner_ab": "How far a translation is from its true partner, mean over pixels from -1 to 1.",
    "partner_ba": "The same of the other way.",
    "rank_ab": "The place of the true partner among all pictures, the nearest to the translation first: the median, 1 is best.",
    "rank_ba": "The same of the other way.",
    "loss_content": "How unlike a photograph and its cartoon are in what a feature net sees, in the loss's weight.",
    "balance": "The content loss over the adversarial one, in the game's first step: what the weight of the first means here.",
    "content_distance": "How far the features of a translation are from the photograph's, which have a root mean square of 1.",
    "clear_edges": "Of all ridges of the gradient the share that is high: drawn lines are high, soft edges and texture are low.",
    "fooled": "Share of translations that a classifier takes for cartoons.",
    # one network learns
    "loss": "What is minimised, on the batch of this step: for a classifier the cross-entropy, which is log(number of classes) for "
            "mere guessing.",
    "loss_train": "What is minimised, on the batch of this step.",
    "loss_held_out": "The same on pictures that were never trained on. When it rises while the other falls, pictures are being "
                     "learned by heart.",
    "batch_accuracy": "Share of this batch that is classified rightly, while dropout and batch norm are at work.",
    "test_accuracy": "Share of the test set that is classified rightly. The network never learns from these pictures.",
    "probe_accuracy": "Share of some training images that is still classified rightly when PGD, ten steps long, attacks them.",
    "nats_bound": "The bound on -log p of a picture, in nats: the sum of the two below. Less is better.",
    "nats_reconstruction": "What the decoder leaves open when it knows the code, in nats per picture.",
    "nats_divergence": "What the code says, in nats per picture: how far the codes are from the ones that are drawn at random.",
    "nats_bound_held_out": "The bound on pictures that were never trained on.",
    "nats_train": "How surprised the network is by the next character, on average: -log of the probability that it gave it. "
                  "Guessing evenly would cost the log of the number of characters.",
    "nats_held_out": "The same on text that was never trained on.",
    "error_autoencoder": "Mean squared error of the autoencoder's copies, for pixels from -1 to 1.",
    "nats_vae": "The VAE's bound on -log p of a picture, in nats.",
    # attacks
    "agreement": "Share of inputs for which the copy answers as the oracle does.",
    "transfer": "Share of the examples made on the copy that fool the oracle, too.",
    "target_confidence": "The probability that the network gives to the class it is driven to.",
}

THREE_LOGS = (3 * math.log(2), "3 log 2")  # cartoons, and two kinds of fakes
TWO_LOGS, ONE_LOG = (2 * math.log(2), "2 log 2"), (math.log(2), "log 2")
GAMES = {  # where neither player can gain: losses of the discriminator and the generator (gan/losses.py)
    "minimax": (TWO_LOGS, (-math.log(2), "-log 2")), "non_saturating": (TWO_LOGS, ONE_LOG), "relativistic": (ONE_LOG, ONE_LOG),
    "cartoon": (THREE_LOGS, ONE_LOG),
    "least_squares": ((0.25, "1/4"), (0.125, "1/8")), "hinge": ((2.0, "2"), (0.0, "0")), "wasserstein": ((0.0, "0"), (0.0, "0")),
}


def meaning(name: str) -> str:
    """The sentence for a metric, or of its family; "" where there is none."""
    family, stroke, _ = name.partition("/")
    return TERMS.get(family + stroke, "")


def references(config: dict) -> dict:
    """{metric: (value, how it is written, why)}: where theory puts a number, for a run with these settings."""
    game, found = config.get("loss"), {}
    if isinstance(game, str) and game in GAMES:
        rest = dict(zip(("loss_d", "loss_g"), GAMES[game], strict=True))
        if game in ("minimax", "non_saturating"):
            rest |= dict.fromkeys(("probability_real", "probability_fake"), (0.5, "1/2"))
        found = {name: (value, text, "where neither player can gain") for name, (value, text) in rest.items()}
    classes = config.get("classes")
    if isinstance(classes, int) and classes > 1:
        found["loss"] = (math.log(classes), f"log {classes}", "mere guessing")
    return found
