"""Training that has gone wrong in its numbers: NaN or infinity, or a loss beyond all sense. Either ends a command with status 3.

A loss diverges when its size exceeds 10^6, or in nats, which are summed over the pixels of a picture, 10^8. Cross-entropy begins
near log C, a squared error near 1, a VAE below 10^5 nats. The losses of two players may be a Wasserstein critic's, which has no
bound where nothing holds its slope: it reaches 10^6 within 300 steps at rate 0.01. So they are given 10^10. The bounds do not
depend on the first loss, because that may have diverged before it is first logged.

Imports: the standard library.
"""

from __future__ import annotations

__all__ = ["MOST", "DivergedError", "NonFiniteError", "diverged"]

MOST = {"loss_d": 1e10, "loss_g": 1e10, "loss": 1e6, "error": 1e6, "nats": 1e8}  # by how the name begins; the first that fits


class NonFiniteError(ArithmeticError):
    """NaN or infinity in a loss, parameter or gradient. `.step`, `.names` (what is not finite)."""

    what = "not finite"

    def __init__(self, step: int, names: list[str], last: str | None):
        kept = f"the last good checkpoint is {last}" if last else "no checkpoint had been written yet"
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        super().__init__(f"step {step}: {self.what}: {', '.join(names[:5])}{more}; {kept}. Lower the learning rate, or "
                         "look at what feeds the first one named")
        self.step, self.names = step, names


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
