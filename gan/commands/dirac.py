"""python -m gan dirac: the smallest game, one number against one number, and which losses and penalties come to rest.

The data is always 0, the generator always draws theta, the discriminator is D(x) = psi x. The equilibrium is theta = psi = 0. Draws
the path of (theta, psi) for each loss alone, and for the remedies; prints how far from 0 each ends.
"""

from __future__ import annotations

import numpy as np

from gan import losses
from gan.dirac import flow, trajectory
from minigrad import command
from minigrad.pictures import new_figure, save_png
from minigrad.words import table, write_json

REST, CYCLE, SLOW = "comes to rest", "runs around a cycle", "imaginary eigenvalues: no exponential rate"
GAMES = {  # name: (loss, options of the path, what theory says)
    "minimax": ("minimax", {}, CYCLE),
    "non-saturating": ("non_saturating", {}, SLOW),
    "least squares": ("least_squares", {}, "stops wherever psi = 0"),
    "Wasserstein": ("wasserstein", {}, CYCLE),
    "hinge": ("hinge", {}, CYCLE),
    "relativistic": ("relativistic", {}, SLOW),
    "Wasserstein, clipped weight": ("wasserstein", dict(clip=1.0), CYCLE),
    "Wasserstein, gradient penalty": ("wasserstein", dict(gradient_penalty=0.3), CYCLE),
    "Wasserstein + R1": ("wasserstein", dict(r1=0.5), REST),
    "non-saturating + R1": ("non_saturating", dict(r1=0.5), REST),
    "non-saturating, instance noise": ("non_saturating", dict(noise=1.0), REST),
    "relativistic + R1": ("relativistic", dict(r1=0.5), REST),
}


def main(argv=None):
    text = command.doc(__doc__, __file__)
    parser = command.Parser("gan dirac", text, data=None, steps=600, run=False, takes="4 seconds",
                            examples=["", "--at-once --rate 0.2"])
    parser.add_argument("--rate", type=command.PART, default=0.1, help="step of both players' gradient descent")
    parser.add_argument("--at-once", action="store_true", help="both players move at once, not in turns: cycles spiral out")
    parser.add_argument("--out", type=command.path, default="dirac.png", metavar="FILE",
                        help="the picture; FILE with .json holds the numbers")
    o = parser.parse(argv)
    paths = {name: trajectory(getattr(losses, loss), o.steps, o.rate, at_once=o.at_once, **options)
             for name, (loss, options, _) in GAMES.items()}
    ends = {name: float(np.hypot(*path[-1])) for name, path in paths.items()}
    print(table(["game", "distance from rest: start", "end", "near rest, by theory"],
                [[name, f"{np.hypot(*path[0]):.3f}", f"{ends[name]:.3g}", GAMES[name][2]]
                 for name, path in paths.items()], left=(0, 3)))
    print("picture:", save_png(o.out, portraits(paths, ends, o)))
    write_json(o.out.rpartition(".")[0] + ".json", {"rate": o.rate, "steps": o.steps, "at_once": o.at_once, "end": ends})


def portraits(paths, ends, o) -> np.ndarray:
    """A phase portrait for each game: the flow as arrows, the path from light to dark, the equilibrium in the middle."""
    figure, draw = new_figure(15.0, 10.6)
    how = "at once" if o.at_once else "in turns"
    figure.suptitle(f"Dirac-GAN: theta (across) against psi (up), {o.steps} steps of {o.rate:g}, {how}; arrows: the game without "
                    "penalties", fontsize=13)
    for place, (name, path) in enumerate(paths.items()):
        axes = figure.add_subplot(3, 4, place + 1)
        axis = np.linspace(-2.1, 2.1, 13)
        theta, psi = np.meshgrid(axis, axis)
        across, up = flow(getattr(losses, GAMES[name][0]), theta, psi)
        size = np.maximum(np.hypot(across, up), 1e-9)
        axes.quiver(theta, psi, across / size, up / size, color="0.75", width=0.004, scale=22)
        axes.plot(*path.T, color="C0" if GAMES[name][2] == REST else "C3", linewidth=1.0, alpha=0.6)
        some = path[:: max(1, o.steps // 150)]
        axes.scatter(*some.T, c=np.arange(len(some)), cmap="Greys", s=8, vmin=-80, zorder=3)
        axes.plot(*path[0], "o", color="tab:green", markersize=7, label="start", zorder=4)
        axes.plot(*path[-1], "s", color="black", markersize=6, label="end", zorder=4)
        axes.plot(0, 0, "+", color="black", markersize=12, zorder=5)
        axes.set_xlim(-2.2, 2.2)
        axes.set_ylim(-2.2, 2.2)
        axes.set_aspect("equal")
        axes.set_title(f"{name}\nends {ends[name]:.2g} from rest", fontsize=11)
        if place == 0:
            axes.legend(loc="lower left", fontsize=9)
    return draw()
