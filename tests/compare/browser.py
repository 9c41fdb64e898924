"""A headless Chromium without a network, driven by its DevTools protocol over a pipe."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--disable-background-networking", "--disable-component-update"),
    *("--disable-extensions", "--hide-scrollbars", "--remote-debugging-pipe"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)  # Chromium reads commands from 3 and answers on 4
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
PATIENCE = 60
"""Seconds to wait for an answer."""


def find() -> str | None:
    """Return the program: what CHROMIUM says, or the first that there is."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page of a browser, and all that it said.

    Args:
        program: Path of Chromium.
        profile: Folder for its files.
    """

    def __init__(self, program: str, profile: Path) -> None:
        self.events: list[dict[str, Any]] = []
        self._count, self._buffer, self._session = 0, b"", None
        hears, self._writes = (_high(end) for end in os.pipe())
        self._reads, says = (_high(end) for end in os.pipe())
        command = [sys.executable, "-c", LAUNCH, str(hears), str(says), program, *FLAGS]
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(hears, says),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(hears)
        os.close(says)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        found = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        rates = {"latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        self.call("Network.emulateNetworkConditions", offline=True, **rates)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Return the answer to a command; keep the events that come before it."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._count:
            self.events.append(answer)
        assert "error" not in answer, f"{method}: {answer}"
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        until = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._reads], [], [], max(0, until - time.monotonic()))
            piece = os.read(self._reads, 1 << 20) if ready else b""
            assert piece, "the browser does not answer"
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, path: Path, width: int = 1280, height: int = 900, **media: str) -> None:
        """Load a file, as seen on a screen of some size, and forget what was said before.

        Args:
            path: The file.
            width: Of the screen, in CSS pixels.
            height: Likewise.
            media: Features of media queries, with underscores for hyphens.
        """
        features = [{"name": x.replace("_", "-"), "value": value} for x, value in media.items()]
        self.call("Emulation.setEmulatedMedia", features=features)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.events = []
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(x["method"] == "Page.loadEventFired" for x in self.events):
            self.events.append(self._next())

    def __call__(self, script: str) -> Any:
        """Return the value of an expression of JavaScript, as plain data."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        text = "\r" if key == "Enter" else " "
        which = {"key": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **which)
        self.call("Input.dispatchKeyEvent", type="keyUp", **which)

    @property
    def complaints(self) -> list[dict[str, Any]]:
        """Errors and warnings on the console, and exceptions, since the page was opened."""
        loud = {"error", "warning", "assert"}
        return [
            x
            for x in self.events
            if x["method"] == "Runtime.exceptionThrown"
            or (x["method"] == "Runtime.consoleAPICalled" and x["params"]["type"] in loud)
            or (x["method"] == "Log.entryAdded" and x["params"]["entry"]["level"] in loud)
        ]

    @property
    def requests(self) -> list[str]:
        """Addresses that were asked for since the page was opened."""
        sent = (x for x in self.events if x["method"] == "Network.requestWillBeSent")
        return [x["params"]["request"]["url"] for x in sent]

    def picture(self, path: Path, height: int | None = None, top: int = 0) -> None:
        """Write a picture of the page, from its top or another place on."""
        whole = self("document.documentElement.scrollHeight")
        area = {
            "x": 0,
            "y": top,
            "width": self("innerWidth"),
            "height": height or whole,
            "scale": 1,
        }
        found = self.call("Page.captureScreenshot", clip=area, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def paper(self, path: Path) -> None:
        """Write the page as PDF."""
        found = self.call("Page.printToPDF", preferCSSPageSize=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def close(self) -> None:
        """End the browser."""
        os.close(self._writes)
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._reads)


def _high(end: int) -> int:
    """Return a copy of one end of a pipe with a number that the launcher does not overwrite."""
    copy = fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(end)
    return copy
