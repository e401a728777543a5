"""python -m gan toy: two small networks play in the plane, where the truth is known.

Data: ring (8 Gaussians, std 0.01 at radius 1), grid (25, std 0.05, 2 apart), swissroll; "ring:modes=12,std=0.02" changes them.
Draws what D thinks beside the best D against this generator, the samples and where they are pushed: RUN/game.gif. Counts as VEEGAN
and PacGAN do: modes found, samples within 3 std of one (98.9 % of true ones are), reverse KL over the modes: RUN/result.json.

Presets:

best   (default) relativistic pairing with R1 and R2 at every step (Huang et al. 2024), rates that fall to 0, averaged generator
plain  Goodfellow et al. 2014: the non-saturating loss and no remedy at all
"""

from __future__ import annotations

import glob
from functools import partial

import numpy as np

import minigrad as mg
from gan import losses, penalties
from gan.commands.helpers import remedies
from gan.commands.helpers.plane import game
from gan.metrics.modes import HIGHEST, Modes, floor
from gan.regularise import add_noise, falling, one_sided, unrolled
from gan.toys import Critic, Generator, Truth
from minigrad import command, data, nn, optim
from minigrad.pictures import save_gif
from minigrad.random import Stream, Streams
from minigrad.words import write_json
from nets.training import constant_then_falling, scheduled

PRESETS = {
    "best": dict(loss="relativistic", r1=0.02, r2=0.02, rate=2e-3, generator_rate=6e-3, beta1=0.0, beta2=0.9, fall=1.0),
    "plain": dict(loss="non_saturating", r1=0.0, r2=0.0, rate=1e-3, generator_rate=1e-3, beta1=0.5, beta2=0.999, fall=0.0),
}
STEPS = {"ring": 6_000, "other": 12_000}
JUDGED = 2500  # samples, as in VEEGAN and PacGAN


def options(argv=None):
    parser = command.Parser(
        "gan toy", command.doc(__doc__, __file__), data="ring", steps=None, presets=PRESETS, cuda=False,
        takes="40 seconds",
        examples=["", "--data grid --seed 3", "--preset plain", "--preset plain --unroll 5",
                  "--loss wasserstein --gradient-penalty 0.1 --critic-steps 5", "--resume runs/toy-0001"],
    )
    best, add = PRESETS["best"], parser.add_argument
    add("--steps", type=command.COUNT, help=f"steps of the generator (default: {STEPS['ring']} for ring, else {STEPS['other']})")
    add("--loss", choices=["minimax", "non_saturating", "least_squares", "wasserstein", "hinge", "relativistic"],
        default=best["loss"], help="the game (see gan/losses.py)")
    for name, size, text in (("batch", 256, "samples in a batch"), ("latent", 2, "numbers in the latent vector"),
                             ("width", 64, "units of a layer, in both players"),
                             ("depth", 3, "hidden layers of the discriminator"),
                             ("generator-depth", 6, "hidden layers of the generator: more make sharper steps between modes"),
                             ("frames", 40, "pictures in the GIF")):
        add(f"--{name}", type=command.COUNT, default=size, help=text)
    for name, kind, text in (("rate", command.POSITIVE, "Adam's learning rate, discriminator"),
                             ("generator-rate", command.POSITIVE, "the same, generator"),
                             ("beta1", command.SHARE, "Adam's first beta"), ("beta2", command.SHARE, "Adam's second beta"),
                             ("fall", command.FRACTION, "last part of training, over which the rates fall to 0"),
                             ("r1", command.WEIGHT, "weight of the R1 penalty, at every step"),
                             ("r2", command.WEIGHT, "weight of the R2 penalty")):
        add(f"--{name}", type=kind, default=best[name.replace("-", "_")], help=text)
    for name, kind, value, text in (
            ("average", command.SHARE, 0.995, "how much of the averaged generator a step keeps; 0: none"),
            ("drift", command.WEIGHT, 0.0, "weight of the drift penalty"),
            ("clip", command.WEIGHT, 0.0, "largest weight of the discriminator (the first WGAN); 0: no limit")):
        add(f"--{name}", type=kind, default=value, help=text)
    remedies.add_options(parser)
    add("--generator-norm", action="store_true", help="batch norm in the generator")
    o = parser.parse(argv)
    o.steps = o.steps or STEPS.get(o.data, STEPS["other"])
    remedies.check(o)
    return o


def main(argv=None):
    o = options(argv)
    truth = Truth(o.data)
    streams = Streams(o.seed)
    loader = data.DataLoader(truth.samples / np.float32(truth.scale), o.batch, shuffle=True, drop_last=True, rng=streams["data"])
    loss = one_sided(getattr(losses, o.loss), o.smooth)
    generator = Generator(o.latent, o.width, o.generator_depth, o.generator_norm, rng=streams["init"])
    spectral = partial(nn.utils.spectral_norm, rng=streams["init"]) if o.spectral_norm else None
    critic = Critic(o.width, o.depth, o.pack, o.stddev, spectral, rng=streams["init"])
    run = command.start("toy", o)
    adam_g = optim.Adam(generator.parameters(), o.generator_rate, betas=(o.beta1, o.beta2))
    adam_d = optim.Adam(critic.parameters(), o.rate, betas=(o.beta1, o.beta2))
    average = optim.EMA(generator, o.average) if o.average else None
    history = History()

    kept = dict(generator=generator, critic=critic, adam_g=adam_g, adam_d=adam_d, loader=loader, streams=streams, average=average,
                history=history)
    run.restore(kept)
    rates = run.follows(lambda steps: constant_then_falling(steps, o.fall), o.steps)
    schedules = [scheduled(adam, rates, run.step) for adam in (adam_g, adam_d)]
    batches, latents, places = loader.forever(), streams["latent"], streams["penalty"]
    look = max(1, o.steps // o.frames)
    for step in run.loop(run.step, o.steps, save=kept):
        blur = falling(o.noise, step, o.steps // 2 or 1)
        for _ in range(o.critic_steps):
            real = add_noise(mg.tensor(next(batches)[0]), blur, streams["noise"])
            with mg.no_grad():
                fake = generator(mg.tensor(latents.normal((o.batch, o.latent))))
            fake = add_noise(fake, blur, streams["noise"])
            loss_d, total = discriminator_loss(o, critic, loss, real, fake, places)
            adam_d.zero_grad()
            total.backward()
            adam_d.step()
            if o.clip:
                penalties.clip_weights(critic, o.clip)

        critic.requires_grad_(False)
        fake = add_noise(generator(mg.tensor(latents.normal((o.batch, o.latent)))), blur, streams["noise"])
        with unrolled(critic, adam_d, lambda a=real, b=fake: discriminator_loss(o, critic, loss, a, b, places)[1], o.unroll):
            loss_g = loss.generator(critic(fake), critic(real) if loss.paired else None)
        adam_g.zero_grad()
        loss_g.backward()
        adam_g.step()
        critic.requires_grad_(True)
        if average:
            average.update()
        for schedule in schedules:
            schedule.step()

        if run.due(step, look, first=20):
            run.check_finite(step, [*generator.named_parameters(), *critic.named_parameters()])
            samples = drawn(average.module if average else generator, o, truth)
            found = truth.count(samples)
            history.add(step, found)
            run.log(step, loss_d=loss_d, loss_g=loss_g, modes=found.found, high_quality=found.high_quality,
                    reverse_kl=found.reverse_kl)
            run.image(step, game(truth, critic, loss, samples, truth.samples, history.curve, steps=o.steps, blur=truth.extent / 40,
                                 title=f"{o.data}, {o.loss}, step {step:,}"), "game")
    finish(run, o, truth, drawn(average.module if average else generator, o, truth))


def discriminator_loss(o, critic, loss, real, fake, places):
    """(the game's loss, and with all penalties) for batches of one size. What `fake` came from may be differentiated."""
    if critic.group:  # a group is of one kind
        parts = [judged(critic, x, weight) for x, weight in ((real, o.r1), (fake, o.r2))]
        (real_logits, r1), (fake_logits, r2) = parts
    else:
        logits, squares = judged(critic, mg.cat([real, fake]), o.r1 or o.r2)
        real_logits, fake_logits = logits.split(len(logits) // 2)
        r1, r2 = (None, None) if squares is None else squares.split(len(squares) // 2)
    loss_d = total = loss.discriminator(real_logits, fake_logits)
    for weight, squares in ((o.r1, r1), (o.r2, r2)):
        if weight:
            total = total + squares.mean() * (0.5 * weight)
    if o.gradient_penalty:
        total = total + penalties.gradient_penalty(critic, real, fake, places) * o.gradient_penalty
    if o.drift:
        total = total + penalties.drift_penalty(real_logits) * o.drift
    return loss_d, total


def judged(critic, x, penalised):
    """Logits of x, and ||dD/dx||^2 of each sample where it is penalised, else None."""
    if not penalised:
        return critic(x), None
    x = x if x.requires_grad else x.detach().requires_grad_()
    logits = critic(x)
    return logits, penalties.squared_gradient_of(logits, x)


def drawn(generator, o, truth) -> np.ndarray:
    """The same 2,500 latents each time, as points of the data's own scale."""
    was = generator.training
    generator.train(o.generator_norm)  # batch statistics: no estimate of them is needed for thousands of samples
    with mg.no_grad():
        points = generator(mg.tensor(Stream(o.seed, "judged").normal((JUDGED, o.latent)))).numpy() * np.float32(truth.scale)
    generator.train(was)
    return points


class History:
    """What was counted so far, a part of the checkpoint: [(step, Modes)]."""

    def __init__(self):
        self.curve = []

    def add(self, step, found):
        self.curve.append((step, found))

    def state_dict(self):
        return {"steps": [step for step, _ in self.curve], "found": [list(found[:4]) for _, found in self.curve]}

    def load_state_dict(self, state):
        self.curve = [(step, Modes(*found, np.nan, None)) for step, found in zip(state["steps"], state["found"], strict=True)]


def finish(run, o, truth, samples):
    """The numbers of the last samples, the GIF of all pictures, the report."""
    found = truth.count(samples)
    highest = HIGHEST if truth.mixture else 0.9973
    result = {"modes": found.found, "of": found.of, "high_quality": found.high_quality, "high_quality_of_the_truth": highest,
              "reverse_kl": found.reverse_kl, "floor_of_reverse_kl": floor(len(samples), found.of), "spread": found.spread,
              "samples": len(samples), "shares": found.histogram}
    write_json(run.file("result.json"), result)
    from PIL import Image

    frames = sorted(glob.glob(run.file("samples", "game_*.png")))
    moving = save_gif(run.file("game.gif"), [Image.open(frame).convert("RGB") for frame in frames], milliseconds=150)
    run.say(f"{o.data}: {found} (the truth itself: {100 * highest:.1f} %, {result['floor_of_reverse_kl']:.4f})")
    run.finish(title=f"A game in the plane: {o.data}", summary={**result, "moving picture": moving})
