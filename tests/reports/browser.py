"""A headless Chromium that is told what to do by its DevTools protocol, over a pipe: no package needed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
_PATIENCE_S = 30.0


def find_browser() -> str | None:
    """The path of a Chromium; `None` where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Tab:
    """One tab of the browser."""

    def __init__(self, *, to_browser: int, from_browser: int) -> None:
        self._out, self._in = to_browser, os.fdopen(from_browser, "rb", buffering=0)
        self._buffer, self._number = b"", 0
        self.complaints: list[str] = []
        """What the page wrote on its console as an error, and what it threw."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime"):
            self._call(f"{domain}.enable", session=self._session)

    def close(self) -> None:
        """The pipe to the browser is closed."""
        os.close(self._out)
        self._in.close()

    def open(self, url: str) -> None:
        """The page of that address is asked for."""
        self._call("Page.navigate", session=self._session, url=url)

    def size(self, *, width: int, height: int) -> None:
        """The window has that size."""
        shape = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self._call("Emulation.setDeviceMetricsOverride", session=self._session, **shape)

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page; `None` where it throws."""
        told = self._call(
            "Runtime.evaluate",
            session=self._session,
            expression=f"(() => {{ try {{ return {expression} }} catch {{ return null }} }})()",
            returnByValue=True,
        )
        return told["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """The value of the expression as soon as it is true."""
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            if value := self.value(expression):
                return value
            time.sleep(0.1)
        raise AssertionError(f"never true: {expression}; {self.complaints}")

    def _call(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "result" in told, told
                return dict(told["result"])
            if told.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(str(told["params"]["exceptionDetails"]))
            if told.get("method") == "Runtime.consoleAPICalled" and told["params"]["type"] == "error":
                self.complaints.append(str(told["params"]["args"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            read = self._in.read(65536)
            assert read, "the browser has gone"
            self._buffer += read
        line, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(line))


@contextmanager
def open_tab(profile: Path) -> Iterator[Tab]:
    """A tab of a browser that ends with the block; its profile is kept in the given folder."""
    browser = find_browser()
    assert browser is not None
    command_read, command_write = os.pipe()
    answer_read, answer_write = os.pipe()

    def as_3_and_4() -> None:
        # Chromium's numbers; duplicated high first, so that neither overwrites the other.
        high_in, high_out = os.dup2(command_read, 103), os.dup2(answer_write, 104)
        os.dup2(high_in, 3)
        os.dup2(high_out, 4)

    process = subprocess.Popen(
        [browser, *_FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(3, 4, command_read, answer_write),
        preexec_fn=as_3_and_4,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    os.close(command_read)
    os.close(answer_write)
    tab = Tab(to_browser=command_write, from_browser=answer_read)
    try:
        yield tab
    finally:
        tab.close()
        process.terminate()
        process.wait(timeout=_PATIENCE_S)
