"""Well-known names that are absent, and what to use instead: read only when a name was not found, so it costs nothing else.

`missing(place, name)` is the AttributeError that a module's or class's `__getattr__` raises.

Imports: the standard library.
"""

from __future__ import annotations

__all__ = ["ABSENT", "missing"]

ONE_PROCESS = "a run is one process on one machine; products and convolutions use all its cores (minigrad.set_num_threads)"
NO_HALF = "floating-point numbers are float32, or float64 for checking; half precision would not be faster here"
NO_COMPILE = "nothing is traced or compiled from your code; fused kernels are picked by nn.Sequential by itself"
FLAT = "images and rows have one or two axes of positions here; fold the third one into the batch or the channels"
ATTENTION = "write attention with matmul and softmax: (q @ k.mT / d ** 0.5).softmax(-1) @ v"
LINALG = "decompose the array, outside the graph: numpy.linalg on x.detach().numpy()"
PACKED = "recurrent layers take padded batches: nn.utils.rnn.pad_sequence, and mask the losses of the padding"
HOOK = "use a forward hook, or Tensor.register_hook on its output"
NO_PICKLE = "a Tensor is not pickled; minigrad.save writes trees of Tensors safely"

ABSENT = {
    "minigrad": {
        "jit": NO_COMPILE, "compile": NO_COMPILE, "fx": NO_COMPILE, "export": NO_COMPILE, "_dynamo": NO_COMPILE,
        "onnx": "write the weights with minigrad.checkpoint.save_weights, as .npz or .safetensors",
        "distributed": ONE_PROCESS, "multiprocessing": ONE_PROCESS,
        "fft": "numpy.fft on arrays, outside the graph", "linalg": LINALG, "svd": LINALG, "qr": LINALG, "cholesky": LINALG,
        "vmap": "write the batch as the first axis; every operation takes it", "func": "minigrad.grad(..., create_graph=True)",
        "autocast": NO_HALF, "amp": NO_HALF, "float16": NO_HALF, "half": NO_HALF, "bfloat16": NO_HALF, "HalfTensor": NO_HALF,
        "complex64": "numbers are real here; keep real and imaginary parts as two channels",
        "cfloat": "numbers are real here; keep real and imaginary parts as two channels",
        "sparse": "arrays are dense here", "sparse_coo_tensor": "arrays are dense here",
        "quantization": "weights stay float32", "ao": "weights stay float32",
        "hub": "nets.imagenet has a pretrained network; others load by name from .npz or .safetensors (minigrad.load)",
        "profiler": "minigrad.explain prints the milliseconds and bytes of every operation",
        "distributions": "draw with minigrad.randn and write the log-density as a formula; minigrad.random has the streams",
        "special": "minigrad.erf, minigrad.sigmoid and minigrad.log1p are at the top",
        "utils.checkpoint": "memory is freed as the backward pass goes; take a smaller batch",
    },
    "minigrad.nn": {
        **dict.fromkeys(("Conv3d", "ConvTranspose3d", "BatchNorm3d", "InstanceNorm3d", "MaxPool3d", "AvgPool3d",
                         "AdaptiveAvgPool3d", "AdaptiveMaxPool3d", "Dropout3d", "ReflectionPad3d"), FLAT),
        **dict.fromkeys(("Transformer", "TransformerEncoder", "TransformerEncoderLayer", "TransformerDecoder",
                         "TransformerDecoderLayer", "MultiheadAttention"), ATTENTION),
        "DataParallel": f"{ONE_PROCESS}; leave the wrapper away", "parallel": f"{ONE_PROCESS}; leave the wrapper away",
        "SyncBatchNorm": f"{ONE_PROCESS}; use nn.BatchNorm2d",
        "CTCLoss": "align the targets beforehand and use nn.CrossEntropyLoss",
        "EmbeddingBag": "nn.Embedding, then .sum(1) or .mean(1)",
        **dict.fromkeys(("LazyLinear", "LazyConv2d", "LazyBatchNorm2d"), "give the number of input features; x.shape tells it"),
        "MaxUnpool2d": "nn.Upsample, or nn.ConvTranspose2d with stride 2", "RReLU": "nn.LeakyReLU or nn.PReLU",
        "MultiMarginLoss": "nn.CrossEntropyLoss, or a hinge written with clamp(min=0)",
        "MultiLabelSoftMarginLoss": "nn.BCEWithLogitsLoss", "quantized": "weights stay float32",
    },
    "minigrad.functional": {
        **dict.fromkeys(("conv3d", "conv_transpose3d", "max_pool3d", "avg_pool3d", "adaptive_avg_pool3d", "dropout3d"), FLAT),
        "scaled_dot_product_attention": ATTENTION, "multi_head_attention_forward": ATTENTION,
        "ctc_loss": "align the targets beforehand and use cross_entropy", "embedding_bag": "embedding, then .sum(1) or .mean(1)",
        "max_unpool2d": "interpolate, or conv_transpose2d with stride 2", "rrelu": "leaky_relu or prelu",
        "multi_margin_loss": "cross_entropy, or a hinge written with clamp(min=0)",
    },
    "minigrad.optim": {
        "LBFGS": "Adam or SGD with momentum; for a full batch, scipy.optimize.minimize with gradients of minigrad.grad",
        "SparseAdam": "Adam; gradients are dense here", "Adafactor": "Adam or AdamW", "Muon": "AdamW",
        "swa_utils": "optim.EMA averages weights, for each step or by half-life",
    },
    "minigrad.optim.lr_scheduler": {},
    "minigrad.nn.utils": {
        "parametrizations": "nn.utils.spectral_norm and nn.utils.weight_norm, whose state has the names weight_orig, weight_u, ...",
        "parametrize": "compute the weight in forward", "prune": "multiply the weight by a mask in forward",
        "stateless": "minigrad.grad takes any leaves; call forward with the Tensors set",
        "fuse_conv_bn_eval": "nn.Sequential does it by itself in evaluation",
    },
    "minigrad.nn.utils.rnn": dict.fromkeys(("pack_padded_sequence", "pad_packed_sequence", "pack_sequence", "PackedSequence"),
                                           PACKED),
    "minigrad.utils": {
        "tensorboard": "minigrad.run writes metrics.jsonl, curves.png and an offline report.html",
        "checkpoint": "memory is freed as the backward pass goes; take a smaller batch",
        "cpp_extension": "kernels are written in Numba: minigrad/kernels/cpu",
        "model_zoo": "nets.imagenet has a pretrained network; others load by name from .npz or .safetensors (minigrad.load)",
        "bottleneck": "minigrad.explain prints the milliseconds and bytes of every operation",
    },
    "minigrad.utils.data": {
        "distributed": ONE_PROCESS, "DistributedSampler": ONE_PROCESS,
        "get_worker_info": "batches are made in this process: there is no worker",
    },
    "Module": {
        "half": NO_HALF, "bfloat16": NO_HALF, "compile": NO_COMPILE, "share_memory": ONE_PROCESS,
        "register_full_backward_hook": HOOK, "register_backward_hook": HOOK, "register_full_backward_pre_hook": HOOK,
        "to_empty": "make the module with device= and dtype=",
    },
    "Tensor": {
        "half": NO_HALF, "bfloat16": NO_HALF, "share_memory_": ONE_PROCESS,
        "to_sparse": "arrays are dense here", "is_sparse": "arrays are dense here", "coalesce": "arrays are dense here",
        "storage": "x.array is the array itself", "untyped_storage": "x.array is the array itself",
        "set_": "x.assign_(values) overwrites a leaf; x = other takes another tensor",
        "resize_": "x.reshape(shape), or a new tensor",
        "scatter_": "nn.functional.one_hot(labels, classes) for labels; else minigrad.where with a mask",
        "svd": LINALG, "qr": LINALG, "cholesky": LINALG, "apply_": "work on x.detach().numpy()", "map_": "minigrad.where",
        "rename": "axes have numbers, no names", "names": "axes have numbers, no names",
    },
}


def missing(place: str, name: str) -> AttributeError:
    """The error for a name that `place`, a module or 'Tensor' or 'Module', does not have: what to use instead, if that is known."""
    where = f"'{place}' object" if place[0].isupper() else f"module '{place}'"
    what = ABSENT.get(place, {}).get(name)
    if what is None and place == "Tensor" and name.endswith("_") and not name.startswith("_"):
        what = f"operations do not change a Tensor; write x = x.{name[:-1]}(...), or under no_grad x.assign_(...) for a leaf"
    if what is None and place == "minigrad.functional" and name.endswith("_") and not name.startswith("_"):
        what = f"operations do not change a Tensor; write x = F.{name[:-1]}(x)"
    return AttributeError(f"{where} has no attribute '{name}'" + (f", on purpose: {what}" if what else ""), name=name)
