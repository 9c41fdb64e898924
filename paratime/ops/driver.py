"""The CUDA driver, asked without torch: which devices this machine has."""

import ctypes
import sys
from dataclasses import dataclass

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
MAJOR, MINOR = 75, 76
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR (CUDA Driver API, CUdevice_attribute)."""


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


def _device(driver: ctypes.CDLL, ordinal: int) -> Device:
    handle, name, value = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(handle), ordinal)
    driver.cuDeviceGetName(name, len(name), handle)
    numbers = []
    for attribute in (MAJOR, MINOR):
        driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle)
        numbers.append(str(value.value))
    return Device(name.value.decode(), "".join(numbers))
