"""VGG-19 (Simonyan & Zisserman 2015, table 1, column E) as far as conv4_4: what perceptual losses look through.

    64-64-M-128-128-M-256-256-256-256-M-512-512-512-512          3x3 convolutions of padding 1, ReLU behind each; M: 2x2 pool

RGB images in [0, 1] go in; what comes out is conv4_4 before its ReLU. Two families of files are taken, each with the normalisation
that its weights were trained with, which belongs to the file and not to the picture:

    torchvision   features.0.weight ... features.25.bias (O, I, 3, 3)      (x - mean) / std of ImageNet, RGB
    Keras         block1_conv1 ... block4_conv4, kernel (3, 3, I, O)       255 x - mean, in BGR: `load` turns conv1_1 round

Layers behind conv4_4 may be in the file and are passed over. No weights come with this project; they are Oxford's, CC BY 4.0.

Imports: numpy, minigrad.
"""

from __future__ import annotations

import re

import numpy as np

import minigrad as mg
from minigrad import checkpoint, nn
from minigrad.functional.door import overflows

STAGES = ((64, 2), (128, 2), (256, 4), (512, 4))  # maps, convolutions
NORMALISATION = {  # mean, standard deviation of RGB in [0, 1]
    "torchvision": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "keras": (tuple(m / 255 for m in (123.68, 116.779, 103.939)), (1 / 255,) * 3),
}
KERAS = re.compile(r"(?:^|/)block([1-5])_conv([1-4])[/._](?:.*[/._])?(kernel|W(?:_1)?|weight|bias|b(?:_1)?)(?::0)?$")


class Vgg19(nn.Module):
    """RGB images (N, 3, H, W) in [0, 1] -> conv4_4 before its ReLU, (N, 512, H // 8, W // 8)."""

    def __init__(self, normalisation="torchvision", rng=None):
        super().__init__()
        mean, std = (mg.tensor(values, dtype=mg.float32).reshape(1, 3, 1, 1) for values in NORMALISATION[normalisation])
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        layers, inputs = [], 3
        for stage, (maps, convolutions) in enumerate(STAGES):
            layers += [nn.MaxPool2d(2)] if stage else []
            for _ in range(convolutions):
                layers += [nn.Conv2d(inputs, maps, 3, padding=1, rng=rng), nn.ReLU()]
                inputs = maps
        self.features = nn.Sequential(*layers[:-1])  # numbered as torchvision numbers them: 0 to 25

    def forward(self, images):
        return self.features((images - self.mean) / self.std)


def keras_names() -> dict:
    """{"block1_conv1": "features.0", ...} up to block4_conv4."""
    places = [i for i, layer in enumerate(Vgg19(rng=None).features) if isinstance(layer, nn.Conv2d)]
    names = [f"block{block}_conv{conv}" for block, (_, n) in enumerate(STAGES, 1) for conv in range(1, n + 1)]
    return {name: f"features.{place}" for name, place in zip(names, places, strict=True)}


def is_vgg(names) -> bool:
    """Whether the names of a file's arrays are those of VGG-19; also of a deeper or shallower one, which `load` refuses."""
    return {"features.0.weight", "features.2.weight"} <= set(names) or any(KERAS.search(name) for name in names)


def load(path) -> Vgg19:
    """The trained layers in evaluation mode, frozen. path: .npz, .safetensors or .pth; CheckpointError for a wrong one."""
    given = checkpoint.load_weights(path)
    keras = {}
    blocks = keras_names()
    for name, array in given.items():
        if (found := KERAS.search(name)) and (block := f"block{found[1]}_conv{found[2]}") in blocks:
            kind = "bias" if found[3].startswith("b") else "weight"
            keras[f"{blocks[block]}.{kind}"] = array.transpose(3, 2, 0, 1) if array.ndim == 4 and kind == "weight" else array
    network = Vgg19("keras" if keras else "torchvision")
    given = keras or given
    wanted = network.state_dict()
    problems = [f"{name} is missing" for name in wanted if name not in given]
    problems += [f"{name} is {given[name].dtype} {given[name].shape}, needed {value.shape}" for name, value in wanted.items()
                 if name in given and (given[name].shape != value.shape or given[name].dtype.kind != "f")]
    problems += [f"{name} holds NaN, infinity or numbers too large" for name, value in wanted.items() if name in given and
                 (not np.isfinite(given[name]).all() or overflows(given[name], value.dtype))]
    deeper = {"features.32.weight", "features.34.weight"}  # VGG-16 ends at 28, and its numbers mean other layers from 16 on
    if not keras and "features.28.weight" in given and not deeper & set(given):
        problems.append("it ends where VGG-16 does")
    if problems:
        raise checkpoint.CheckpointError(path, f"not the weights of VGG-19: {'; '.join(problems[:4])}"
                                         + (f" and {len(problems) - 4} more" if len(problems) > 4 else ""))
    arrays = {name: given[name] for name in wanted}
    if keras:
        arrays["features.0.weight"] = arrays["features.0.weight"][:, ::-1]  # BGR to RGB
    network.load_state_dict(arrays)
    return network.eval().requires_grad_(False)
