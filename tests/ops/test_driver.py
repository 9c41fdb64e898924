"""What ``paratime info`` says of CUDA devices, with a driver that is made up."""

import subprocess
from pathlib import Path

import pytest

from paratime import info
from paratime.ops import driver, targets

SOURCE = """
#include <stdio.h>
int cuInit(unsigned flags) { return INIT; }
int cuDeviceGetCount(int* n) { return *n = COUNT, 0; }
int cuDeviceGet(int* device, int ordinal) { return *device = 7 + ordinal, 0; }
int cuDeviceGetName(char* name, int size, int device) {
  return snprintf(name, size, "Device %d", device), 0;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  return *value = attribute == 75 ? device + 2 : attribute == 76 ? 3 : -1, 0;
}
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what installs a driver with so many devices."""

    def install(count: int, init: int = 0) -> None:
        path = tmp_path / "driver.so"
        command = [*(targets.compiler() or ()), "-x", "c", f"-DCOUNT={count}", f"-DINIT={init}"]
        command += ["-shared", "-fPIC", "-", "-o", str(path)]
        subprocess.run(command, input=SOURCE, text=True, check=True)
        monkeypatch.setattr(driver, "LIBRARY", str(path))

    return install


def test_devices(installed):
    installed(2)
    assert driver.devices() == [driver.Device("Device 7", "93"), driver.Device("Device 8", "103")]
    said = info.report()
    assert "Device 7 (compute capability 93), Device 8 (compute capability 103)" in said


@pytest.mark.parametrize("count, init", ((0, 0), (3, 100)))
def test_a_driver_without_devices(installed, count, init):
    installed(count, init)
    with pytest.raises(driver.NoDevice, match=f"finds no device \\(error {init}\\)"):
        driver.devices()


def test_no_driver(monkeypatch):
    monkeypatch.setattr(driver, "LIBRARY", "libno-such-driver.so")
    with pytest.raises(driver.NoDevice, match=r"no CUDA driver \(libno-such-driver\.so\)"):
        driver.devices()
    assert "none: no CUDA driver" in info.report()


def test_devices_that_torch_cannot_use(installed, monkeypatch):
    installed(1)
    monkeypatch.setattr(info, "_version", lambda package: "2.13.0+cpu")
    assert "missing: this torch has no CUDA; install" in info.report()
    monkeypatch.setattr(info, "_version", lambda package: "2.13.0")
    monkeypatch.setattr(targets, "nvcc", lambda: None)
    assert "93: missing: no nvcc on PATH; install the CUDA toolkit" in info.report()
