"""python -m gan losses: why nobody minimises the minimax loss as it stands.

Both losses of the generator come from one definition, E log(1 - P) over fakes with P = sigmoid(D(G(z))): minimax goes down it,
the non-saturating one goes down -E log P instead. Draws both, and the gradient that reaches the generator through the logit D,
against P; prints the gradients where the discriminator is sure. The curves are computed by gan/losses.py and its derivatives.
"""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan import losses
from minigrad import command
from minigrad.pictures import new_figure, save_png
from minigrad.words import table, write_json

SHOWN = {"minimax": "C3", "non_saturating": "C0", "least_squares": "0.6", "wasserstein": "0.35"}


def main(argv=None):
    text = command.doc(__doc__, __file__)
    parser = command.Parser("gan losses", text, data=None, steps=None, run=False, takes="1 second",
                            examples=["", "--at 0.001"])
    parser.add_argument("--at", type=command.LEVEL, default=0.01, help="the P = D(G(z)) whose gradients are printed")
    parser.add_argument("--out", type=command.path, default="losses.png", metavar="FILE",
                        help="the picture; FILE with .json holds the numbers")
    o = parser.parse(argv)
    there = {name: tuple(float(v[0]) for v in along(name, np.array([o.at]))) for name in SHOWN}
    print(f"where the discriminator gives a fake P = {o.at:g}:")
    print(table(["the generator's loss", "its value", "|d loss / d logit|"],
                [[name, f"{value:.4f}", f"{abs(slope):.4f}"] for name, (value, slope) in there.items()]))
    ratio = abs(there["non_saturating"][1] / there["minimax"][1])
    print(f"the non-saturating loss passes {ratio:.0f} times the gradient of the minimax loss (exactly (1 - P)/P)")
    print("picture:", save_png(o.out, drawn(o.at)))
    write_json(o.out.rpartition(".")[0] + ".json", {"P": o.at, "ratio": ratio, "value and gradient": there})


def along(name: str, probability) -> tuple[np.ndarray, np.ndarray]:
    """(loss of the generator, its derivative by the logit) at each probability (N,), from gan/losses.py."""
    logits = mg.tensor(np.log(probability / (1 - probability)), dtype=mg.float64, requires_grad=True)
    each = mg.cat([getattr(losses, name).generator(logits[i : i + 1]).reshape(1) for i in range(len(probability))])
    (slope,) = mg.grad(each.sum(), [logits])
    return each.detach().numpy(), slope.numpy()


def drawn(at: float) -> np.ndarray:
    """The losses at the left; at the right the size of the gradient on a logarithmic scale."""
    p = 1 / (1 + np.exp(-np.linspace(-9, 9, 181)))
    figure, draw = new_figure(12.4, 4.8)
    left, right = figure.add_subplot(1, 2, 1), figure.add_subplot(1, 2, 2)
    for name, colour in SHOWN.items():
        value, slope = along(name, p)
        bold = colour.startswith("C")
        style = dict(color=colour, linewidth=2.2 if bold else 1.3, linestyle="-" if bold else "--")
        label = name.replace("_", "-").replace("wass", "Wass")
        left.plot(p, value, label=label, **style)
        right.plot(p, np.abs(slope), label=label, **style)
    left.set_ylim(-5, 6)
    left.set_ylabel("the generator's loss")
    left.set_title("the loss: where the fakes are found out, minimax is flat", fontsize=11)
    right.set_xscale("log")
    right.set_yscale("log")
    right.set_xlim(1e-4, 1)
    right.set_ylim(1e-4, 20)
    right.axvline(at, color="0.8", linewidth=1, zorder=0)
    right.text(at * 1.1, 1.4e-4, f"P = {at:g}", color="0.4", fontsize=9)
    right.set_ylabel("|d loss / d logit|: what reaches the generator")
    right.set_title("its gradient: P for minimax, 1 - P for non-saturating", fontsize=11)
    for axes in (left, right):
        axes.set_xlabel("P = D(G(z)), the discriminator's probability that a fake is real")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=10)
    return draw()
