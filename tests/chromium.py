"""Chromium, without a window, driven by its DevTools protocol over two pipes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def find_chromium() -> str | None:
    """The browser of this system, if it has one; ``BOXCAM_CHROMIUM`` names another."""
    return os.environ.get("BOXCAM_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """A page that is open, and what it has done since: requests, errors and lines on the console."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back = to, back
        self._rest, self._number, self._session = b"", 0, ""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> Any:
        """Do something, and wait until it is done."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self._hear(answer)

    def open(self, address: str, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Open a page and wait until all of it is there."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.send("Page.navigate", url=address)
        while True:
            heard = self._read()
            self._hear(heard)
            if heard.get("method") == "Page.loadEventFired":
                return

    def run(self, script: str) -> Any:
        """The value of an expression on the page."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str, text: str = "") -> None:
        """Press a key, as a person does: ``Tab``, ``Enter``, ``ArrowRight``."""
        codes = {"Tab": 9, "Enter": 13, " ": 32, "End": 35, "Home": 36}
        codes |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        text = text or {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else "")
        event = {"key": key, "windowsVirtualKeyCode": codes.get(key, 0), "text": text}
        self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **event)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=codes.get(key, 0))

    def picture(self, file: Path) -> None:
        """What can be seen of it, as a PNG file."""
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._back, 1 << 16)
            assert more, "Chromium has ended"
            self._rest += more
        line, self._rest = self._rest.split(b"\0", 1)
        found: dict[str, Any] = json.loads(line)
        return found

    def _hear(self, said: dict[str, Any]) -> None:
        method, parameters = said.get("method", ""), said.get("params", {})
        if method == "Network.requestWillBeSent" and not parameters["request"]["url"].startswith("data:"):
            self.requests.append(parameters["request"]["url"])
        if method == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        if method == "Runtime.exceptionThrown":
            self.complaints.append(parameters["exceptionDetails"]["exception"]["description"])
        if method == "Runtime.consoleAPICalled":
            self.complaints.append(str(parameters["args"]))


@contextmanager
def browser(program: str) -> Iterator[Page]:
    """A browser with an empty page; it ends with the block.

    Args:
        program: see `find_chromium`.
    """
    flags = "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --remote-debugging-pipe"
    down, up = os.pipe(), os.pipe()  # what it reads, what it writes
    ours, theirs = (down[1], up[0]), (down[0], up[1])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        # The protocol's pipes are file descriptors 3 and 4, which Python cannot choose; a shell can.
        script = f'exec 8<&{theirs[0]} 9>&{theirs[1]}; exec "$0" "$@" 3<&8 4>&9'
        command = ["bash", "-c", script, program, *flags.split(), f"--user-data-dir={home}"]
        process = subprocess.Popen(
            command, pass_fds=theirs, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            for number in theirs:
                os.close(number)
            yield Page(*ours)
        finally:
            process.kill()
            process.wait()
            for number in ours:
                os.close(number)
