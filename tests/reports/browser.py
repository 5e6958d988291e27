"""Headless Chromium, driven over the DevTools protocol through a pair of pipes: no port, no package."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
_BECOME = """
import os, sys
ends = [os.dup(int(end)) for end in sys.argv[1:3]]
high = [os.dup2(end, 100 + end) for end in ends]
os.dup2(high[0], 3), os.dup2(high[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium listens on descriptor 3 and speaks on 4."""
_MARGIN_PX = 16
_PATIENCE_S = 60.0


def find_browser() -> str | None:
    """The path of a Chromium; `None` where there is none."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


class Browser:
    """A page in a window of a given size. All that it asked the network for and all that it complained of is kept."""

    def __init__(self, *, width: int, height: int = 900) -> None:
        path = find_browser()
        assert path is not None
        self._profile = tempfile.mkdtemp(prefix="depthweave-browser-")
        profile = f"--user-data-dir={self._profile}"
        read_end, self._to = os.pipe()
        self._from, write_end = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _BECOME, str(read_end), str(write_end), path, *_FLAGS, profile, "about:blank"],
            pass_fds=(read_end, write_end),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_end)
        os.close(write_end)
        os.set_blocking(self._from, False)
        self._received = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        """Console errors and warnings, exceptions, and what the page's policy refused."""
        self.requests: list[str] = []
        """Addresses asked for."""
        try:
            self._attach()
            self.resize(width, height)
            # Without it a page in no window may not write to the clipboard.
            self.send("Emulation.setFocusEmulationEnabled", enabled=True)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """The browser has ended and left nothing behind."""
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._to)
        os.close(self._from)
        shutil.rmtree(self._profile, ignore_errors=True)

    def _attach(self) -> None:
        targets = self.send("Target.getTargets")["targetInfos"]
        target = next(it["targetId"] for it in targets if it["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")
        self.send("Performance.enable", timeDomain="threadTicks")

    def resize(self, width: int, height: int) -> None:
        """The page has this size in CSS pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """The reader's system is `light` or `dark`."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, page: Path | str) -> None:
        """The file, or the page of an address, is loaded."""
        self.send("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        self.wait("location.protocol !== 'about:' && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression, a promise's once it is kept; `AssertionError` where it throws."""
        told = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def wait(self, condition: str) -> None:
        """The condition holds; `AssertionError` after a minute."""
        until = time.monotonic() + _PATIENCE_S
        while not self.run(f"Boolean({condition})"):
            if time.monotonic() > until:
                where = self.run("JSON.stringify([scrollY, innerHeight, document.visibilityState])")
                raise AssertionError(f"never came true, at {where}: {condition}; complaints: {self.complaints}")
            time.sleep(0.03)

    def see_figures(self) -> int:
        """Every figure that is not hidden came into view and is drawn; returns how many there are, hidden ones too."""
        plots = "document.querySelectorAll('.plot')"
        number = int(self.run(f"{plots}.length"))
        for plot in (f"{plots}[{place}]" for place in range(number)):
            # Scrolled to at every look: a page loaded again may go back to where it stood, late.
            self.wait(f"({plot}.scrollIntoView(), {plot}.closest('[hidden]') || {plot}.querySelector('.main-svg'))")
        return number

    def busy_s(self) -> float:
        """Processor time that the page's thread has worked so far: what others do on the machine does not count."""
        metrics = self.send("Performance.getMetrics")["metrics"]
        return float(next(it["value"] for it in metrics if it["name"] == "TaskDuration"))

    def click(self, x: float, y: float) -> None:
        """The left button at this place of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """One key, named as in KeyboardEvent.key."""
        code = {"Enter": 13, "Tab": 9, "ArrowRight": 39, "ArrowLeft": 37, "ArrowUp": 38, "ArrowDown": 40}[key]
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path, *, of: str = "body", height: int | None = None) -> None:
        """An element of the page as a PNG file, from its upper edge down to `height` pixels."""
        box = self.run(
            f"(() => {{ const box = document.querySelector({json.dumps(of)}).getBoundingClientRect();"
            " return {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height}; })()"
        )
        wide, tall = box["width"] + 2 * _MARGIN_PX, (height or box["height"]) + 2 * _MARGIN_PX
        clip = {"x": box["x"] - _MARGIN_PX, "y": box["y"] - _MARGIN_PX, "width": wide, "height": tall, "scale": 1}
        told = self.send("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(told["data"]))

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command's answer; `AssertionError` where the browser refuses it or is silent."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + _PATIENCE_S
        while True:
            told = self._next(until)
            if told.get("id") == self._number:
                assert "error" not in told, f"{method}: {told['error']}"
                result: dict[str, Any] = told["result"]
                return result
            self._note(told)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._received:
            assert time.monotonic() < until, "the browser is silent"
            try:
                more = os.read(self._from, 1 << 20)
            except BlockingIOError:
                time.sleep(0.002)
                continue
            assert more, "the browser has gone"
            self._received += more
        first, self._received = self._received.split(b"\0", 1)
        message: dict[str, Any] = json.loads(first)
        return message

    def _note(self, told: dict[str, Any]) -> None:
        method, values = told.get("method"), told.get("params", {})
        if method == "Network.requestWillBeSent":
            # What a page draws into itself asks nobody.
            if not values["request"]["url"].startswith(("data:", "blob:")):
                self.requests.append(values["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(values["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(values["args"])[:500])
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.complaints.append(values["entry"]["text"])
