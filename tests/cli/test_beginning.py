"""A signal while a command imports ends it in one line; afterwards, it has handlers of its own."""

import os
import signal
import subprocess
import sys
import time

import pytest

from paratime.cli.signals import handling


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
@pytest.mark.parametrize("seconds", (0.2, 0.4, 0.8))
def test_a_signal_at_the_beginning_is_one_line(number, seconds, tmp_path):
    command = [sys.executable, "-m", "paratime", "fit", "-c", "missing.yaml"]
    about = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.Popen(
        command, cwd=tmp_path, env=about, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    time.sleep(seconds)
    run.send_signal(number)
    out, err = run.communicate(timeout=60)
    early = run.returncode < 0 and not err  # Python had not read the command yet
    assert early or run.returncode == 128 + number
    assert not out and len(err.split("\n")) <= 3 and "Traceback" not in err


def test_handlers_are_those_from_before():
    before = [signal.getsignal(x) for x in (signal.SIGINT, signal.SIGTERM)]
    with handling(dict.fromkeys((signal.SIGINT, signal.SIGTERM), print)):
        assert signal.getsignal(signal.SIGINT) is print
    assert [signal.getsignal(x) for x in (signal.SIGINT, signal.SIGTERM)] == before
