"""python -m minigrad: what there is to run."""

import contextlib
import sys

TEXT = """\
minigrad: tensors with derivatives of every order, layers, optimisers; on them networks that learn, play and are fooled.

  python -m nets                    one network learns: classifier, autoencoder, vae, charrnn, ...
  python -m gan                     two networks play: dcgan, toy, and why it is hard
  python -m attacks                 networks are fooled: every attack, what defends, what does not
  python -m minigrad.doctor         what this machine will use, and what is set up badly
  python -m minigrad.explain        every operation: its equation and its derivative rule
  python -m minigrad.warmup         compile all kernels now, not at first use
  python -m benchmarks              timings beside PyTorch

Each tells more with --help. To begin, without any data: python -m gan dcgan"""


def main() -> int:
    """Print it. A word that is typed behind it is an error, because there is no command here."""
    if sys.argv[1:] and sys.argv[1] not in ("-h", "--help", "help"):
        print(f"python -m minigrad: error: unknown word {sys.argv[1]!r}\n\n{TEXT}", file=sys.stderr)
        return 2
    with contextlib.suppress(BrokenPipeError):  # | head
        print(TEXT, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
