"""One picture of a game in the plane: what D thinks, what the best D would think, where the samples are pushed, how far it is."""

from __future__ import annotations

import numpy as np

import minigrad as mg
from gan.toys import Critic, Truth, force, optimum, surface
from minigrad.pictures import new_figure

COUNT = 90  # cells along the side of a heat map


def game(truth: Truth, critic: Critic, loss, samples, real, curve, *, title: str, blur: float, steps: int) -> np.ndarray:
    """Three panels, uint8 (H, W, 3).

    samples (N, 2) of the generator, real (N, 2), both in units of the data; curve: [(step, Modes)] so far; blur: of both densities
    in the second panel, in units of the data; steps: end of the curve's axis."""
    figure, draw = new_figure(12.6, 4.5)
    figure.suptitle(title, fontsize=12)
    few, scale = samples[:400], np.float32(truth.scale)
    learned, relative = learned_share(truth, critic, loss, samples)
    left = _heat(figure, 1, truth, learned, "learned D: sigmoid(D(x)" + (" - mean D(fake))" if relative else ")"))
    _points(left, truth, real[:400], few)
    arrows = force(critic, loss, (few[:200] / scale).astype(np.float32), (real[:200] / scale).astype(np.float32))
    size = np.linalg.norm(arrows, axis=1, keepdims=True)
    longest = max(float(np.quantile(size, 0.9)), 1e-12)
    arrows = 0.16 * truth.extent * arrows / np.maximum(size, longest)
    left.quiver(*few[:200:2].T, *arrows[::2].T, angles="xy", scale_units="xy", scale=1, color="black", width=0.004, headwidth=4)
    left.text(0.02, 0.02, f"arrows: -dL(G)/dx, longest {longest:.2g}", transform=left.transAxes, fontsize=8,
              bbox=dict(facecolor="white", alpha=0.8, edgecolor="none", pad=1.5))
    best = optimum(truth, samples, blur, COUNT)
    right = _heat(figure, 2, truth, best, f"best D against this G: p/(p + q), blurred by {blur:.2g}")
    _points(right, truth, (), few)
    _progress(figure.add_subplot(1, 3, 3), curve, steps)
    return draw()


def learned_share(truth, critic, loss, samples):
    """(sigmoid of the learned logits (COUNT, COUNT), whether they were taken relative to the fakes').

    Only a critic of the log loss has a zero of its own; others' logits are compared with the mean logit of the fakes."""
    logits = surface(critic, truth, COUNT)
    relative = not loss.discriminator.__name__.startswith("log_loss")
    if relative:
        with mg.no_grad():
            logits = logits - critic.alone(mg.tensor((samples[:500] / truth.scale).astype(np.float32)),
                                           mg.tensor((truth.samples[:512] / truth.scale).astype(np.float32))).numpy().mean()
    return 1 / (1 + np.exp(-np.clip(logits, -30, 30))), relative


def _heat(figure, place, truth, values, title):
    axes = figure.add_subplot(1, 3, place)
    extent = [-truth.extent, truth.extent] * 2
    drawn = axes.imshow(np.ma.masked_invalid(values), origin="lower", extent=extent, cmap="RdBu", vmin=0, vmax=1)
    axes.set_facecolor("0.9")
    axes.set_xlim(-truth.extent, truth.extent)
    axes.set_ylim(-truth.extent, truth.extent)
    axes.set_title(title, fontsize=10)
    bar = figure.colorbar(drawn, ax=axes, fraction=0.046, pad=0.02, ticks=[0, 0.5, 1])
    bar.ax.set_yticklabels(["fake", "1/2", "real"], fontsize=8)
    return axes


def _points(axes, truth, real, fake):
    if len(real):
        axes.plot(real[:, 0], real[:, 1], ".", color="tab:green", markersize=5, alpha=0.6, label="data")
    axes.plot(fake[:, 0], fake[:, 1], ".", color="tab:orange", markersize=3, alpha=0.8, label="generated")
    axes.legend(loc="upper right", fontsize=8, framealpha=0.8)


def _progress(axes, curve, steps):
    at = [step for step, _ in curve]
    axes.plot(at, [100 * m.high_quality for _, m in curve], color="C0", label="high quality, %")
    axes.plot(at, [100 * m.found / m.of for _, m in curve], color="C2", label="modes found, %")
    axes.set_xlim(0, steps)
    axes.set_ylim(-3, 105)
    axes.set_xlabel("step", fontsize=10)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", fontsize=9, frameon=False)
    if curve:
        m = curve[-1][1]
        axes.set_title(str(m).replace("quality, ", "quality,\n"), fontsize=10)
