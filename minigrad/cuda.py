"""The GPU under the names of torch.cuda: whether there is one, and calls that do nothing where there is none.

Imports: cupy (when called), devices, dtypes, random.
"""

from __future__ import annotations

from minigrad import random
from minigrad.devices import device as _device
from minigrad.dtypes import NAMES, TensorType

FloatTensor, DoubleTensor, LongTensor, IntTensor, ShortTensor, CharTensor, ByteTensor, BoolTensor = (
    TensorType(name, dtype, "cuda") for name, dtype in NAMES.items())


def _runtime():
    """CuPy's CUDA runtime, or None where CuPy or a GPU is missing."""
    try:
        import cupy

        return cupy.cuda.runtime if cupy.cuda.runtime.getDeviceCount() else None
    except Exception:  # no CuPy, no driver, no GPU: CuPy has a class of error for each
        return None


def is_available() -> bool:
    """Whether tensors can live on a GPU here."""
    return _runtime() is not None


def device_count() -> int:
    """How many GPUs there are."""
    runtime = _runtime()
    return 0 if runtime is None else runtime.getDeviceCount()


def current_device() -> int:
    """The number of the GPU that is used, 0 where there is none."""
    runtime = _runtime()
    return 0 if runtime is None else runtime.getDevice()


def set_device(device) -> None:
    """Use another GPU; nothing where there is none."""
    runtime = _runtime()
    if runtime is not None:
        index = device if isinstance(device, int) else _device(device).index
        runtime.setDevice(index or 0)


def get_device_name(device=None) -> str:
    """The name of the GPU."""
    runtime = _runtime()
    if runtime is None:
        raise RuntimeError("cuda.get_device_name: there is no GPU here; ask cuda.is_available() first")
    return runtime.getDeviceProperties(device or 0)["name"].decode()


def synchronize(device=None) -> None:
    """Wait until the GPU has done what it was given."""
    runtime = _runtime()
    if runtime is not None:
        runtime.deviceSynchronize()


def empty_cache() -> None:
    """Give memory that CuPy keeps for later back to the GPU."""
    if is_available():
        import cupy

        cupy.get_default_memory_pool().free_all_blocks()


def manual_seed(seed) -> None:
    """Seed the default stream: there is one for all devices."""
    random.manual_seed(seed)


manual_seed_all = manual_seed
