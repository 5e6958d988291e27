"""Headless Chromium, driven over the DevTools protocol through a pair of pipes, without a port or a package."""

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
_EXEC_BROWSER = """
import os, sys
ends = [os.dup(int(end)) for end in sys.argv[1:3]]
high = [os.dup2(end, 100 + end) for end in ends]
os.dup2(high[0], 3), os.dup2(high[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads commands from descriptor 3 and writes answers to 4."""
_DESCRIBE_PLOT = """(() => {
  const plot = %s, box = plot.getBoundingClientRect();
  return JSON.stringify({id: plot.id, dataset: {...plot.dataset}, top: box.top, bottom: box.bottom, width: box.width,
    inView: box.bottom > 0 && box.top < innerHeight, hidden: Boolean(plot.closest('[hidden]')), innerHeight});
})()"""
_MARGIN_PX = 16
_TIMEOUT_S = 60.0


def find_browser() -> str | None:
    """Returns the path of a Chromium, or `None`."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


class Browser:
    """A page in a window of a given size; records its network requests and its errors and warnings."""

    def __init__(self, *, width: int, height: int = 900) -> None:
        path = find_browser()
        assert path is not None
        self._profile = tempfile.mkdtemp(prefix="depthweave-browser-")
        profile = f"--user-data-dir={self._profile}"
        read_end, self._to = os.pipe()
        self._from, write_end = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _EXEC_BROWSER, str(read_end), str(write_end), path, *_FLAGS, profile, "about:blank"],
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
        """Console errors and warnings, exceptions, and violations of the page's security policy."""
        self.requests: list[str] = []
        """Requested addresses."""
        try:
            self._attach()
            self.resize(width, height)
            # A page without focus may not write to the clipboard.
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
        """Ends the browser and removes its profile."""
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
        """Sets the size of the page in CSS pixels."""
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, scheme: str) -> None:
        """Sets the colour scheme that the system prefers: `light` or `dark`."""
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, page: Path | str) -> None:
        """Loads a file or an address."""
        self.send("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        self.wait("location.protocol !== 'about:' && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """Returns the value of an expression, awaiting a promise. Raises `AssertionError` if it throws."""
        answer = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition: str, *, describe: str = "null") -> None:
        """Waits until the condition holds. Raises `AssertionError` after a minute, with what `describe` returns."""
        until = time.monotonic() + _TIMEOUT_S
        while not self.run(f"Boolean({condition})"):
            if time.monotonic() > until:
                view = self.run("JSON.stringify([scrollY, innerHeight, document.visibilityState])")
                state = self.run(describe)
                raise AssertionError(
                    f"never came true, at {view}: {condition}; state: {state}; complaints: {self.complaints}"
                )
            time.sleep(0.03)

    def see_figures(self) -> int:
        """Scrolls to each figure until it is drawn, except hidden ones. Returns the number of all figures."""
        plots = "document.querySelectorAll('.plot')"
        number = int(self.run(f"{plots}.length"))
        for plot in (f"{plots}[{place}]" for place in range(number)):
            # Scrolls at every poll: a page that was loaded again may restore its old position late.
            self.wait(
                f"({plot}.scrollIntoView(), {plot}.closest('[hidden]') || {plot}.querySelector('.main-svg'))",
                describe=_DESCRIBE_PLOT % plot,
            )
        return number

    def busy_s(self) -> float:
        """Returns the processor time of the page's thread so far; other processes do not count."""
        metrics = self.send("Performance.getMetrics")["metrics"]
        return float(next(it["value"] for it in metrics if it["name"] == "TaskDuration"))

    def click(self, x: float, y: float) -> None:
        """Clicks the left button at this position of the window."""
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Presses one key, named as in KeyboardEvent.key."""
        codes = {"Enter": 13, "Tab": 9, "Escape": 27, " ": 32}
        codes |= {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        code, name = codes[key], "Space" if key == " " else key
        for kind in ("rawKeyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=name, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path, *, of: str = "body", height: int | None = None) -> None:
        """Writes an element of the page as a PNG file, from its upper edge down to `height` pixels."""
        box = self.run(
            f"(() => {{ const box = document.querySelector({json.dumps(of)}).getBoundingClientRect();"
            " return {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height}; })()"
        )
        wide, tall = box["width"] + 2 * _MARGIN_PX, (height or box["height"]) + 2 * _MARGIN_PX
        clip = {"x": box["x"] - _MARGIN_PX, "y": box["y"] - _MARGIN_PX, "width": wide, "height": tall, "scale": 1}
        answer = self.send("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Returns a command's answer. Raises `AssertionError` if the browser refuses it or does not answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + _TIMEOUT_S
        while True:
            answer = self._next(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._record(answer)

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._received:
            assert time.monotonic() < until, "the browser does not answer"
            try:
                more = os.read(self._from, 1 << 20)
            except BlockingIOError:
                time.sleep(0.002)
                continue
            assert more, "the browser has ended"
            self._received += more
        first, self._received = self._received.split(b"\0", 1)
        message: dict[str, Any] = json.loads(first)
        return message

    def _record(self, event: dict[str, Any]) -> None:
        method, values = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            # These addresses are in the page itself.
            if not values["request"]["url"].startswith(("data:", "blob:")):
                self.requests.append(values["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(values["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(values["args"])[:500])
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.complaints.append(values["entry"]["text"])
