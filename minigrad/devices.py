"""Where arrays live: the name of a device, and CuPy or one sentence that says what is missing.

Imports: cupy (when called).
"""

from __future__ import annotations


class device(str):
    """device("cpu"), device("cuda"), device("cuda:0"), device("cuda", 0), device(0): a string with `.type` and `.index`.

    It is taken wherever a device is asked for. The index is kept and not used: CuPy's current device does the work.
    """

    __slots__ = ()

    def __new__(cls, type, index=None):
        name = f"cuda:{type}" if isinstance(type, int) and not isinstance(type, bool) else str(type)
        kind, colon, number = name.partition(":")
        if kind not in ("cpu", "cuda") or colon and not number.isdecimal() or index is not None and colon:
            raise ValueError(f"device must be 'cpu' or 'cuda', got {type!r}")
        return super().__new__(cls, name if index is None else f"{kind}:{int(index)}")

    @property
    def type(self) -> str:
        """'cpu' or 'cuda'."""
        return str(self.partition(":")[0])

    @property
    def index(self) -> int | None:
        """The number behind the colon, or None."""
        number = self.partition(":")[2]
        return int(number) if number else None


CPU, CUDA = device("cpu"), device("cuda")


def device_name(name) -> str:
    """'cpu' or 'cuda', for what `device` takes."""
    return device(name).type


class DeviceError(RuntimeError, ImportError):
    """The device that was asked for cannot be used here. Both kinds, because a missing package and a missing GPU are one fault to
    whoever asks for a GPU; the text says which it is and what to do."""


def cupy_or_error():
    """CuPy. DeviceError, in one line, where it is not installed, or finds no GPU."""
    try:
        import cupy
    except ImportError:
        raise DeviceError("device='cuda' needs CuPy: pip install -e \".[gpu]\" (or stay with device='cpu')") from None
    try:
        found = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"device='cuda': CuPy is installed, but finds no GPU that it can use ({error}); "
                          "python -m minigrad.doctor looks for the reason; device='cpu' works everywhere") from None
    if not found:
        raise DeviceError("device='cuda': CuPy is installed, but there is no GPU here; device='cpu' works everywhere")
    return cupy
