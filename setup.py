"""Compile the native kernels while the package is installed, if a compiler is present.

An editable installation gets the library for this machine, in the user's cache. A wheel gets the
sources and a library for every capability of its architecture, and one for CUDA if nvcc is there.
"""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_py import build_py

sys.path.insert(0, str(Path(__file__).parent))

from paratime.ops.native import build, targets  # noqa: E402


class BuildWithKernels(build_py):
    """Compile after the modules are in place."""

    def run(self) -> None:
        """Build the modules, then the kernels that can be built."""
        super().run()
        if self.editable_mode:
            _attempt(build.find_or_build, targets.cpu(targets.capabilities()[0]))
            return
        package = Path(self.build_lib) / "paratime"
        shutil.copytree(build.sources(), package / "csrc", dirs_exist_ok=True)
        for target in (*map(targets.cpu, targets.variants()), targets.cuda()):
            _attempt(build.build_library, target, build.packaged(target, package))


def _attempt(make: Callable[..., Path], target: build.Target, *arguments: Path) -> None:
    """Make a library, or report why it cannot be made and continue without it."""
    try:
        make(target, *arguments)
    except build.CannotBuild as error:
        print(f"paratime: no {target.kernels}: {error}", file=sys.stderr)


class PlatformWheel(bdist_wheel):
    """A wheel for any Python of one platform."""

    def get_tag(self) -> tuple[str, str, str]:
        """Return the tag: the libraries depend on neither Python nor its ABI."""
        return "py3", "none", super().get_tag()[2]


class WithKernels(Distribution):
    """A distribution that is not pure Python."""

    def has_ext_modules(self) -> bool:
        """Return True, although no extension module is listed."""
        return True


setup(
    distclass=WithKernels,
    cmdclass={"build_py": BuildWithKernels, "bdist_wheel": PlatformWheel},
)
