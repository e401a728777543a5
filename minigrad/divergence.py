"""Training that has gone wrong in its numbers: NaN or infinity, or a loss beyond all sense. Either ends a command with status 3.

A loss diverges when its size exceeds 10^6, or in nats, which are summed over the pixels of a picture, 10^8. Cross-entropy begins
near log C, a squared error near 1, a VAE below 10^5 nats. The losses of two players may be a Wasserstein critic's, which has no
bound where nothing holds its slope: it reaches 10^6 within 300 steps at rate 0.01. So they are given 10^10. The bounds do not
depend on the first loss, because that may have diverged before it is first logged.

Imports: finite.
"""

from __future__ import annotations

from minigrad.finite import NonFiniteError

__all__ = ["MOST", "DivergedError", "NonFiniteError", "diverged"]

MOST = {"loss_d": 1e10, "loss_g": 1e10, "loss": 1e6, "error": 1e6, "nats": 1e8}  # by how the name begins; the first that fits


class DivergedError(NonFiniteError):
    """A loss that is finite, and so large that training is lost. `.step`, `.names`."""

    what = "diverged"


def diverged(numbers: dict) -> list[str]:
    """["loss = 3e+09", ...]: those of {name: finite number} that are losses beyond all sense. Other names are left alone."""
    found = []
    for name, value in numbers.items():
        most = next((most for kind, most in MOST.items() if name.startswith(kind)), None)
        if most is not None and abs(value) > most:
            found.append(f"{name} = {value:.3g}, a loss beyond {most:.0e}")
    return found
