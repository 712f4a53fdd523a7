"""A headless Chromium driven over its debugging pipe: JSON messages ended by a NUL byte, no port, no library.

`browser()` gives one, or None where there is no Chromium; `Page` is one tab.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE = 30.0
"""Seconds that one answer may take on a busy machine."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-default-apps",
    "--disable-features=Translate,OptimizationHints,MediaRouter",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--remote-debugging-pipe",
)
KEYS = {"Enter": (13, "\r"), "Tab": (9, ""), "Escape": (27, ""), " ": (32, " "), "/": (191, "/"), "ArrowDown": (40, "")}


def executable() -> str | None:
    """Where Chromium is, `GCX_CHROMIUM` first."""
    return os.environ.get("GCX_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One process; its folder and itself are gone when `close` returns."""

    def __init__(self, path: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="gcx-chromium-")
        to_read, self._out = os.pipe()
        self._in, to_write = os.pipe()
        # The program wants descriptors 3 and 4: taken from high ones, so that neither overwrites the other.
        high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 50) for descriptor in (to_read, to_write)]
        quiet = os.open(os.devnull, os.O_RDWR)
        self._pid = os.posix_spawn(
            path,
            [path, *FLAGS, f"--user-data-dir={self._folder}", "about:blank"],
            {**os.environ, "HOME": self._folder},
            file_actions=[
                *((os.POSIX_SPAWN_DUP2, quiet, standard) for standard in (0, 1, 2)),
                (os.POSIX_SPAWN_DUP2, high[0], 3),
                (os.POSIX_SPAWN_DUP2, high[1], 4),
            ],
            setpgroup=0,
        )
        for descriptor in (to_read, to_write, quiet, *high):
            os.close(descriptor)
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, params: dict[str, Any] | None = None, session: str | None = None) -> dict[str, Any]:
        """Send a command and wait for its answer; events that come meanwhile are kept."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": params or {}}
        if session:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            got = self._next(time.monotonic() + PATIENCE)
            if got.get("id") == number:
                if "error" in got:
                    raise RuntimeError(f"{method}: {got['error']}")
                return got["result"]
            self.events.append(got)

    def wait(self, method: str, session: str) -> dict[str, Any]:
        """The next event of this name, or one that has come already."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for event in self.events:
                if event.get("method") == method and event.get("sessionId") == session:
                    self.events.remove(event)
                    return event["params"]
            self.events.append(self._next(deadline))

    def _next(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                raise TimeoutError("Chromium does not answer")
            piece = os.read(self._in, 2**20)
            if not piece:
                raise RuntimeError("Chromium has ended")
            self._buffer += piece
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def close(self) -> None:
        for descriptor in (self._out, self._in):
            os.close(descriptor)
        with suppress(ProcessLookupError):
            os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        shutil.rmtree(self._folder, ignore_errors=True)


class Page:
    """One tab: what it asked of the network and what it said on the console is in `requests` and `complaints`."""

    def __init__(self, browser: Browser, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        self._browser = browser
        target = browser.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self._target = target
        self._session = browser.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(width, height)
        self.scheme(scheme)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, params, self._session)

    def resize(self, width: int, height: int = 900) -> None:
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )

    def scheme(self, scheme: str) -> None:
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def print_look(self) -> None:
        self.call("Emulation.setEmulatedMedia", media="print")

    def open(self, path: Path, fragment: str = "") -> None:
        self.call("Page.navigate", url=path.resolve().as_uri() + fragment)
        self._browser.wait("Page.loadEventFired", self._session)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        got = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in got:
            raise RuntimeError(got["exceptionDetails"].get("exception", {}).get("description", str(got)))
        return got["result"].get("value")

    def press(self, key: str) -> None:
        """One key, as a person presses it."""
        code, text = KEYS[key]
        common = {"key": key, "windowsVirtualKeyCode": code, "code": {" ": "Space", "/": "Slash"}.get(key, key)}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **common)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def write(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """A click with the mouse in the middle of an element, scrolled to first."""
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        extra: dict[str, Any] = {}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            extra = {"captureBeyondViewport": True, "clip": {**size, "x": 0, "y": 0, "scale": 1}}
        Path(path).write_bytes(base64.b64decode(self.call("Page.captureScreenshot", **extra)["data"]))

    def _seen(self, *methods: str) -> list[dict[str, Any]]:
        self.run("0")  # what happened before this has been told when it answers
        events = self._browser.events
        return [e["params"] for e in events if e.get("sessionId") == self._session and e.get("method") in methods]

    @property
    def requests(self) -> list[str]:
        """Addresses asked for, but for the page itself and what it holds."""
        asked = (event["request"]["url"] for event in self._seen("Network.requestWillBeSent"))
        return [url for url in asked if not url.startswith(("data:", "file:"))]

    @property
    def complaints(self) -> list[str]:
        """Errors and warnings of the page, uncaught exceptions, and what its policy refused."""
        said = [
            str(event["args"])
            for event in self._seen("Runtime.consoleAPICalled")
            if event["type"] in ("error", "warning", "assert")
        ]
        thrown = [str(event["exceptionDetails"]) for event in self._seen("Runtime.exceptionThrown")]
        logged = [event["entry"]["text"] for event in self._seen("Log.entryAdded")]
        return said + thrown + logged

    def close(self) -> None:
        self._browser.call("Target.closeTarget", {"targetId": self._target})


@contextmanager
def browser() -> Iterator[Browser | None]:
    """A running Chromium, or None where there is none."""
    path = executable()
    if path is None:
        yield None
        return
    running = Browser(path)
    try:
        yield running
    finally:
        running.close()
