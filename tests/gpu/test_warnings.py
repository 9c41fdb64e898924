"""Warnings of the CUDA stack end no test, and those of paratime do."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STACK = ("torch", "torch.cuda", "torch.backends", "torch._inductor.utils", "triton", "pynvml")

PLUGIN = """
import pytest, sys, warnings
class Plugin:
    def pytest_runtest_setup(self, item):
        warnings.warn("cuDNN has a message", FutureWarning)
sys.exit(pytest.main(sys.argv[1:], plugins=[Plugin()]))
"""


@pytest.mark.parametrize("module", STACK)
def test_a_warning_while_the_stack_is_imported_is_no_error(module):
    with warnings.catch_warnings(record=True) as seen:
        warnings.warn_explicit("deprecated", FutureWarning, "file.py", 1, module=module)
    assert len(seen) == 1


@pytest.mark.parametrize("module", ("paratime.ops.scan", "tritonish", "torch.nn.functional"))
def test_other_warnings_are_errors(module):
    with pytest.raises(FutureWarning, match="deprecated"):
        warnings.warn_explicit("deprecated", FutureWarning, "file.py", 1, module=module)


@pytest.mark.parametrize(("where", "right"), [("gpu", True), ("not gpu", False)])
def test_a_warning_fails_no_test_on_a_device(where, right):
    """Here tests on a device are skipped, or pass; the others fail by the warning."""
    options = ["-p", "no:cacheprovider", "-m", where, "-k", "no_sequence", "tests/gpu"]
    command = [sys.executable, "-c", PLUGIN, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == right, done.stdout[-2000:]
    assert "cuDNN has a message" in done.stdout
