"""Devices and libraries that are made up: what ``paratime info`` says of them, and what runs."""

import ctypes
import logging
import os
import subprocess
import sys
from contextlib import nullcontext
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

from paratime.cli import info
from paratime.ops.native import build, driver, library, targets

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

KERNELS = """
#include <stdint.h>
int paratime_probe(int64_t device) { return device == GOOD ? 0 : 35; }
const char* paratime_error(int32_t code) { return code == 35 ? "driver too old" : "?"; }
int paratime_gru1_forward_sequential_float32() { return 0; }
"""


def compiled(source: str, path: Path, **macros: int) -> Path:
    """Compile a library in C."""
    command = [*(targets.compiler() or ()), "-x", "c", "-shared", "-fPIC", "-", "-o", str(path)]
    command += [f"-D{name}={value}" for name, value in macros.items()]
    subprocess.run(command, input=source, text=True, check=True)
    return path


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what installs a driver with so many devices."""

    def install(count: int, init: int = 0) -> None:
        path = compiled(SOURCE, tmp_path / "driver.so", COUNT=count, INIT=init)
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
    monkeypatch.setattr(info, "_version", lambda package: "2.13.0")
    monkeypatch.setattr(info, "_cuda_of_torch", lambda: None)
    assert "missing: this torch has no CUDA; install" in info.report()
    monkeypatch.setattr(info, "_cuda_of_torch", lambda: "13.0")
    monkeypatch.setattr(targets, "nvcc", lambda: None)
    assert "93: missing: no nvcc on PATH; install the CUDA toolkit" in info.report()


def test_torch_is_not_judged_by_its_version(installed, tmp_path, monkeypatch):
    installed(1)
    monkeypatch.setattr(info, "_version", lambda package: "2.13.0")
    for cuda, missing in (("None", True), ("'13.0'", False)):
        (tmp_path / "version.py").write_text(f"cuda = {cuda}\n")
        spec = ModuleSpec("torch", None, origin=str(tmp_path / "__init__.py"))
        monkeypatch.setattr(info, "find_spec", {"torch": spec}.get)
        assert ("missing: this torch has no CUDA" in info.report()) == missing
    monkeypatch.setattr(info, "find_spec", lambda name: None)
    assert "missing: this torch has no CUDA" in info.report()


@pytest.fixture
def with_kernels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what compiles kernels that one device can run, for a torch with CUDA."""

    def install(good: int) -> None:
        path = compiled(KERNELS, tmp_path / "kernels.so", GOOD=good)
        monkeypatch.setattr(build, "find_library", lambda target: path)
        monkeypatch.setattr(library, "_load", lambda target: ctypes.CDLL(str(path)))
        monkeypatch.setattr(torch.version, "cuda", "13.0")
        monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
        monkeypatch.setattr(info, "_cuda_of_torch", lambda: "13.0")

    library._for_device.cache_clear()
    library._symbol.cache_clear()
    yield install
    library._for_device.cache_clear()
    library._symbol.cache_clear()


def resolve(ordinal: int, capability: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Return whether a kernel is found for a device."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: ordinal)
    symbol = "gru1_forward_sequential_float32"
    return library.device_function(symbol, torch.device("cuda", ordinal)) is not None


def test_a_device_that_cannot_run_the_kernels_takes_the_torch_path(
    with_kernels, monkeypatch, caplog
):
    with_kernels(good=1)
    with caplog.at_level(logging.WARNING, "paratime"):
        for _ in range(2):
            assert not resolve(0, (9, 0), monkeypatch)
            assert resolve(1, (9, 0), monkeypatch)
    (line,) = caplog.messages
    assert line.startswith("the torch path runs instead of the CUDA kernels for compute capability")
    assert line.endswith(
        "the device cannot run them, says CUDA: driver too old; update the driver, or compile by "
        "an nvcc that is no newer and knows this device"
    )


def test_a_device_that_is_too_old_takes_the_torch_path(with_kernels, monkeypatch, caplog):
    with_kernels(good=0)
    with caplog.at_level(logging.WARNING, "paratime"):
        assert not resolve(0, (7, 5), monkeypatch)
    (line,) = caplog.messages
    assert line.endswith("expected compute capability 8.0 or later, got 7.5; use a newer device")


def test_info_asks_the_devices_as_well(installed, with_kernels):
    installed(2)
    with_kernels(good=1)
    said = info.report()
    assert "103: compiled; 93: missing: the device cannot run them, says CUDA: driver too" in said


def test_info_names_a_device_that_is_too_old(monkeypatch):
    monkeypatch.setattr(driver, "devices", lambda: [driver.Device("Old", "75")])
    monkeypatch.setattr(info, "_cuda_of_torch", lambda: "13.0")
    assert "75: missing: expected compute capability 8.0 or later, got 7.5" in info.report()


@pytest.mark.skipif(targets.nvcc() is None, reason="no CUDA compiler")
def test_a_library_by_nvcc_is_refused_where_there_is_no_device(tmp_path):
    made, sources = tmp_path / "kernels.so", build.sources() / "cuda"
    command = [*(targets.nvcc() or ()), "-std=c++17", "-arch=sm_80", "-shared", "-Xcompiler"]
    files = [sources / "scan.cu", sources / "error.cu"]
    subprocess.run([*command, "-fPIC", *files, "-o", made], check=True)
    code = "import ctypes, sys; from paratime.ops.native import driver\n"
    code += "print(driver.refusal(ctypes.CDLL(sys.argv[1]), 0))"
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    ask = [sys.executable, "-c", code, made]
    said = subprocess.run(ask, env=hidden, capture_output=True, text=True, check=True).stdout
    assert said.startswith("the device cannot run them, says CUDA: ")
    assert "CUDA driver version is insufficient" in said or "no CUDA-capable device" in said
