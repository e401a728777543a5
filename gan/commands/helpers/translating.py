"""CycleGAN's four players and a round of their game, for `gan cyclegan` and the exhibits that play it briefly."""

from __future__ import annotations

import minigrad as mg
from gan.translate import Pool, cycle_losses, discriminator_loss
from minigrad import command, data, inputs, optim
from nets.commands.helpers.images import if_there
from nets.generators.cyclegan import PatchDiscriminator, ResnetGenerator
from nets.generators.draw import in_batches


class Players:
    """Translators .g (a to b) and .f (b to a), judges .d_a and .d_b, an Adam for each pair, a pool of translations for each judge.

    The names are the options of `gan cyclegan`. streams: "init" draws the weights, "pool a" and "pool b" what the pools hand on.
    .parts: all that a checkpoint keeps, by name."""

    def __init__(self, channels, streams, *, width=16, blocks=6, patch=2, resize=False, pool=50, rate=2e-4, device="cpu"):
        self.device, rng = device, streams["init"]
        self.g, self.f = (ResnetGenerator(channels, channels, width, blocks, resize, rng=rng).to(device) for _ in "gf")
        self.d_a, self.d_b = (PatchDiscriminator(channels, width, patch, rng=rng).to(device) for _ in "ab")
        self.adam_g = optim.Adam([*self.g.parameters(), *self.f.parameters()], rate, betas=(0.5, 0.999))
        self.adam_d = optim.Adam([*self.d_a.parameters(), *self.d_b.parameters()], rate, betas=(0.5, 0.999))
        self.pool_a, self.pool_b = (Pool(pool, streams[f"pool {name}"]) for name in "ab")
        self.parts = {name: getattr(self, name) for name in ("g", "f", "d_a", "d_b", "adam_g", "adam_d", "pool_a", "pool_b")}

    def named_parameters(self) -> list:
        """Those of all four networks."""
        return [pair for network in (self.g, self.f, self.d_a, self.d_b) for pair in network.named_parameters()]

    def round(self, a, b, *, cycle=10.0, identity=0.5):
        """Both translators' step, then both judges', on a and b (N, C, H, W), Tensors. Returns ({"loss_d": ..., "loss_cycle": ...,
        ...}, Translations)."""
        # both translators, judges frozen
        for d in (self.d_a, self.d_b):
            d.requires_grad_(False)
        losses, moved = cycle_losses(self.g, self.f, self.d_a, self.d_b, a, b, cycle=cycle, identity=identity)
        self.adam_g.zero_grad()
        sum(losses.values()).backward()
        self.adam_g.step()

        # both judges, on fakes out of the pools
        for d in (self.d_a, self.d_b):
            d.requires_grad_(True)
        loss_d = (discriminator_loss(self.d_a, a, self.pool_a.draw(moved.fake_a))
                  + discriminator_loss(self.d_b, b, self.pool_b.draw(moved.fake_b)))
        self.adam_d.zero_grad()
        loss_d.backward()
        self.adam_d.step()
        return {"loss_d": loss_d, **{f"loss_{name}": loss for name, loss in losses.items()}}, moved

    def play(self, train, steps: int, streams, bar, **weights) -> None:
        """So many rounds on single pictures of each kind, with the `weights` of `round`; bar: a Progress."""
        loaders = [data.DataLoader(side, 1, shuffle=True, drop_last=True, rng=streams[f"data {name}"]).forever()
                   for name, side in zip("ab", train, strict=True)]
        for _ in range(steps):
            self.round(*next_pair(loaders), **weights)
            bar.update(bar.step + 1)

    def translated(self, test) -> dict:
        """{"ab": (N, C, H, W) what g makes of test.a, "ba": what f makes of test.b}."""
        return {way: in_batches(there, there, side.normalised(), 50)
                for way, there, side in (("ab", self.g, test.a), ("ba", self.f, test.b))}

    def returned(self, after) -> dict:
        """What `translated` gave, translated back."""
        return {way: in_batches(back, back, after[way], 50) for way, back in (("ab", self.f), ("ba", self.g))}


BRIEF = dict(blocks=2, patch=1, rate=5e-4)  # players that show something in a minute
HELD_OUT = 200  # pictures of each kind that a brief game is measured on


def brief_options(parser, out: str) -> None:
    """--size, --width and --out of an exhibit that plays CycleGAN briefly."""
    add = parser.add_argument
    add("--size", type=command.COUNT, default=32, help="pixels, a multiple of 4")
    add("--width", type=command.COUNT, default=8, help="maps next to the picture, in all four networks")
    add("--out", type=command.path, default=out, metavar="FILE", help="the picture; FILE with .json holds the numbers")


def brief_sets(o):
    """(training, test) as `both_sets`, of the test at most `HELD_OUT` of each kind. ValueError for a --size that will not do."""
    if o.size % 4 or o.size < 16:
        raise ValueError(f"--size {o.size}: give a multiple of 4, at least 16")
    train, test = both_sets(o)
    return train, data.Pair(*(side.subset(slice(HELD_OUT)) for side in test))


def next_pair(endless, device="cpu"):
    """The next batch of each kind, Tensors, from a pair of endless loaders."""
    return (mg.tensor(next(batches)[0], device=device) for batches in endless)


def both_sets(o, batch: int = 1):
    """(training, test) of --data, each a Pair, for training on so many of each kind at once.

    A source without test pictures gives a tenth of each side."""
    train = inputs.pair(o, size=o.size, seed=o.seed)
    test = if_there(o.data, lambda: inputs.pair(o, train=False, size=o.size, seed=o.seed))
    if test is None:
        (a, held_a), (b, held_b) = (side.split(0.1, o.seed) for side in train)
        train, test = data.Pair(a, b), data.Pair(held_a, held_b)
    for name, side in zip(("the first domain", "the second domain"), train, strict=True):
        if len(side) < batch:
            raise ValueError(f"--batch {batch}: {name} has {len(side)} pictures; give --batch {max(1, len(side))} or fewer")
    return train, test
