"""The CUDA driver, asked without torch: which devices there are, and whether they run kernels."""

import ctypes
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
MAJOR, MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR (CUDA Driver API, CUdevice_attribute)."""

OLDEST = "80"
"""The first compute capability with the kernels' instructions: asynchronous copies, bfloat16."""


class NoDevice(RuntimeError):
    """There is no CUDA device, and this is why, in one line."""


@dataclass(frozen=True)
class Device:
    """A CUDA device: its name, and its compute capability such as ``"90"``."""

    name: str
    capability: str


def devices() -> list[Device]:
    """Return the CUDA devices.

    Raises:
        NoDevice: There is none, or no driver.
    """
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise NoDevice(f"no CUDA driver ({LIBRARY})") from error
    count = ctypes.c_int()
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        raise NoDevice(f"the CUDA driver finds no device (error {code})")
    return [_device(driver, ordinal) for ordinal in range(count.value)]


def refusal(library: ctypes.CDLL, ordinal: int) -> str | None:
    """Return why a device cannot run the kernels of a library, with the remedy, or None if it can.

    The device becomes the current one of this thread.
    """
    code = library.paratime_probe(ctypes.c_int64(ordinal))
    if code == 0:
        return None
    said = error_text(library.paratime_error, code)
    return (
        f"the device cannot run them, says CUDA: {said}; update the driver, or compile by an nvcc "
        "that is no newer and knows this device"
    )


def too_old(capability: str) -> str | None:
    """Return why devices of a capability such as ``"75"`` cannot run the kernels, or None."""
    if int(capability) >= int(OLDEST):
        return None
    needed, found = (f"{x[:-1]}.{x[-1]}" for x in (OLDEST, capability))
    return f"expected compute capability {needed} or later, got {found}; use a newer device"


def error_text(error: Callable[..., Any], code: int) -> str:
    """Return the text that a library's ``paratime_error`` has for a code."""
    error.restype = ctypes.c_char_p  # type: ignore[attr-defined]
    said: bytes = error(ctypes.c_int32(code))
    return said.decode()


def _device(driver: ctypes.CDLL, ordinal: int) -> Device:
    handle, name, value = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(handle), ordinal)
    driver.cuDeviceGetName(name, len(name), handle)
    numbers = []
    for attribute in (MAJOR, MINOR):
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle)
        numbers.append(str(value.value))
    return Device(name.value.decode(), "".join(numbers))
