"""python -m nets generate RUN: what a trained network makes: text of a charrnn run, pictures of a vae or autoencoder run.

A charrnn run continues the prompt. Temperature 1 draws as the network believes, less is safer and duller, 0 takes the likeliest
letter each time; --top-k never draws any but the k likeliest. A vae run draws codes from N(0, I) and decodes them. An autoencoder
run copies held-out pictures, because nothing says which codes are likely.
"""

from __future__ import annotations

import os

from minigrad import command
from minigrad.pictures import make_grid, save_png
from minigrad.random import Stream
from minigrad.reading import samples
from minigrad.run import Run, RunError
from nets.commands.helpers.images import above_each_other, some, train_and_held_out
from nets.generators.autoencoder import Autoencoder
from nets.generators.draw import in_batches
from nets.generators.vae import VAE
from nets.text.charrnn import CharRNN, encode, write

COUNTS = {"charrnn": 1, "vae": 100, "autoencoder": 50}
FOR_TEXT = ("prompt", "temperature", "top_k", "length")


def options(argv=None):
    parser = command.Parser(
        "nets generate", command.doc(__doc__, __file__), data=None, steps=None, run=False,
        takes="2 seconds",
        examples=['runs/charrnn-0001 --prompt "ROMEO:" --temperature 0.8', "runs/charrnn-0001 --top-k 5 --count 3 --length 200",
                  "runs/vae-0001 --count 400 --out pictures"],
    )
    add = parser.add_argument
    add("run", type=command.path, metavar="RUN", help="a finished or unfinished run of nets charrnn, vae or autoencoder")
    add("--prompt", metavar="TEXT", help="text: what to continue (default: a new line)")
    add("--temperature", type=command.WEIGHT, help="text: 0 to about 1.2 (default: 0.8)")
    add("--top-k", type=command.COUNT, metavar="N", help="text: draw among the N likeliest letters only (default: all)")
    add("--length", type=command.COUNT, metavar="N", help="text: letters to write (default: 500)")
    add("--count", type=command.COUNT, metavar="N", help="how many texts or pictures (default: 1 text, 100 pictures)")
    add("--out", type=command.path, metavar="FOLDER", help="pictures: where to write (default: RUN/samples)")
    return parser.parse(argv)


def main(argv=None):
    o = options(argv)
    run = Run.open(o.run)
    kind = next((k for k in COUNTS if run.restored is not None and k in run.restored), None)
    if kind is None:
        what = "has no checkpoint yet" if run.restored is None else f"was made by: {run.command}"
        raise RunError(run.path, f"{what}. Give a trained run of nets charrnn, vae or autoencoder")
    foreign = [name for name in FOR_TEXT if getattr(o, name) is not None] if kind != "charrnn" else ["out"] if o.out else []
    if foreign:
        raise ValueError(f"--{foreign[0].replace('_', '-')} is not for {run.path}, a run of nets {kind}")
    o.count = o.count or COUNTS[kind]
    {"charrnn": texts, "vae": drawn, "autoencoder": copies}[kind](run, o)


def texts(run, o):
    c = run.config
    network = CharRNN(len(c["characters"]), c["hidden"], c["layers"], c["cell"], c["embedding"], c["dropout"])
    network.load_state_dict(run.restored["charrnn"])
    prompt = o.prompt or "\n"
    codes = encode(prompt, c["characters"])
    temperature = 0.8 if o.temperature is None else o.temperature
    rng = Stream(o.seed, "generate")
    written = write(network, codes, o.length or 500, o.count, temperature=temperature, top_k=o.top_k, rng=rng)
    for i, row in enumerate(written):
        print(("" if i == 0 else "-" * 60 + "\n") + (prompt + "".join(c["characters"][code] for code in row)).strip("\n"))


def drawn(run, o):
    c = run.config
    vae = VAE(c["size"], c["channels"], c["latent"], c["network"], c["likelihood"], c["width"], c["refine"], c["hidden"])
    vae.load_state_dict(run.restored["vae"])
    pictures = in_batches(vae, vae.decode, Stream(o.seed, "generate").normal((o.count, c["latent"])))
    print("drawn:", save_png(target(run, o), make_grid(pictures)))


def copies(run, o):
    c = run.config
    network = Autoencoder(c["size"], c["channels"], c["latent"], c["width"], c["refine"])
    network.load_state_dict(run.restored["autoencoder"])
    o.data, o.size, o.seed, o.download = c["data"], c["size"], c["seed"], False  # the pictures that the run held out
    originals, columns = some(train_and_held_out(o)[1], o.count)
    grid = make_grid(above_each_other(originals, in_batches(network, network, originals), columns=columns), columns)
    print("originals above their copies:", save_png(target(run, o), grid))


def target(run, o) -> str:
    """Where the sheet goes; the folder is made."""
    folder = o.out or samples(run.path)
    os.makedirs(folder, exist_ok=True)
    return os.path.join(folder, "grid.png")
