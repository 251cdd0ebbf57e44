"""A JupyterLab of the tests' own, driven in Chromium."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page

_QUIET = {
    "apputils-extension/notification.jupyterlab-settings": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "docmanager-extension/plugin.jupyterlab-settings": {"autosave": False},
}

_RUN = """async (code) => {
  const kernel = window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel;
  const future = kernel.requestExecute({ code, store_history: false });
  let out = '';
  future.onIOPub = (m) => {
    if (m.header.msg_type === 'stream') out += m.content.text;
    if (m.header.msg_type === 'error') out += 'ERROR ' + m.content.ename + ': ' + m.content.evalue;
  };
  await future.done;
  return out;
}"""

_IDLE = """() => {
  const context = window.jupyterapp?.shell?.currentWidget?.context;
  return context?.isReady && context.sessionContext?.session?.kernel?.status === 'idle';
}"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Lab:
    """A running JupyterLab, and the browser that looks at it."""

    def __init__(self, folder: Path, browser: Browser) -> None:
        self.folder, self.browser = folder, browser
        self.port, self.token = free_port(), secrets.token_hex(16)
        self.home = folder / "home"
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        for name, settings in _QUIET.items():
            file = self.home / "settings" / "@jupyterlab" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(settings))
        self.log = (folder / "lab.log").open("w")
        self.process = subprocess.Popen(
            self._command(), cwd=self.work, env=self._environment(), stdout=self.log, stderr=self.log
        )
        self._wait()

    def _command(self) -> list[str]:
        options = {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": self.port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": str(self.work),
            "ServerApp.open_browser": False,
            "ServerApp.allow_root": True,
            "IdentityProvider.token": self.token,
            "LabApp.expose_app_in_browser": True,
            "JupyterNotebookApp.expose_app_in_browser": True,
            "LabApp.extension_manager": "readonly",
            "LabApp.news_url": "",
        }
        return [sys.executable, "-m", "jupyterlab", *(f"--{k}={v}" for k, v in options.items())]

    def _environment(self) -> dict[str, str]:
        own = {
            "HOME": self.home,
            "JUPYTER_CONFIG_DIR": self.home / "config",
            "JUPYTER_RUNTIME_DIR": self.home / "runtime",
            "JUPYTERLAB_SETTINGS_DIR": self.home / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": self.home / "workspaces",
            "IPYTHONDIR": self.home / "ipython",
            "MPLCONFIGDIR": self.home / "mpl",
        }
        more = {"OMP_NUM_THREADS": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        return {**os.environ, **{k: str(v) for k, v in own.items()}, **more}

    def _wait(self) -> None:
        url = f"http://127.0.0.1:{self.port}/api/status?token={self.token}"
        for _ in range(240):
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.25)
        text = (self.folder / "lab.log").read_text()[-2000:]
        raise RuntimeError(f"JupyterLab did not start:\n{text}")

    def open(
        self,
        cells: Sequence[str],
        *,
        width: int = 1280,
        height: int = 900,
        run: bool = True,
        front: str = "doc/tree",
    ) -> Page:
        """Open a notebook with these cells, and run all of them; in Notebook 7 with ``front="notebooks"``."""
        name = f"n{secrets.token_hex(4)}.ipynb"
        (self.work / name).write_text(json.dumps(notebook(cells)))
        page = self.browser.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(20_000)
        page.gt_errors = []  # type: ignore[attr-defined]
        page.on("pageerror", lambda error: page.gt_errors.append(error.stack or str(error)))  # type: ignore[attr-defined]
        page.goto(f"http://127.0.0.1:{self.port}/{front}/{name}?token={self.token}")
        page.wait_for_function(_IDLE, timeout=60_000)
        if run:
            self.run_all(page)
        return page

    def run_all(self, page: Page, timeout_ms: int = 90_000) -> None:
        """Run all cells and wait until the kernel has nothing to do."""
        page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
        page.wait_for_function(_IDLE, timeout=timeout_ms)

    def python(self, page: Page, code: str) -> str:
        """Run code in the notebook's kernel, beside its cells; returns what it prints."""
        out: str = page.evaluate(_RUN, code)
        return out.strip()

    def expect(self, page: Page, code: str, printed: str, within_s: float = 20.0) -> None:
        """Run code until it prints what is expected: what the page does reaches the kernel a little later."""
        end = time.monotonic() + within_s
        while (found := self.python(page, code)) != printed and time.monotonic() < end:
            page.wait_for_timeout(100)
        assert found == printed

    def save(self, page: Page) -> None:
        """Save the notebook and wait until it is saved."""
        page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")

    def theme(self, page: Page, name: str) -> None:
        """Change the theme: ``Light`` or ``Dark``."""
        page.evaluate(
            "(t) => window.jupyterapp.commands.execute('apputils:change-theme', {theme: t})",
            f"JupyterLab {name}",
        )
        dark = str(name == "Light").lower()
        page.wait_for_selector(f"body[data-jp-theme-light='{dark}']", state="attached")

    def close(self, page: Page) -> None:
        """Close a page and shut its kernel down."""
        with contextlib.suppress(Exception):
            page.evaluate(
                "async () => { await window.jupyterapp.shell.currentWidget.context.sessionContext.shutdown(); }"
            )
        page.close()

    def stop(self) -> None:
        """End the server and its kernels."""
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
        self.log.close()


def notebook(cells: Sequence[str]) -> dict[str, Any]:
    """A notebook with these cells, as JSON."""
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "cells": [
            {
                "cell_type": "code", "id": f"c{i}", "metadata": {}, "source": text,
                "outputs": [], "execution_count": None,
            }
            for i, text in enumerate(cells)
        ],
    }  # fmt: skip


def listening_ports(pids: set[int]) -> set[tuple[str, int]]:
    """The (address, port) pairs that these processes listen on, from /proc (Linux)."""
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    target = os.readlink(link)
                    if target.startswith("socket:["):
                        inodes.add(target[8:-1])
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and parts[9] in inodes:
                address, port = parts[1].split(":")
                found.add((address, int(port, 16)))
    return found


def family(pid: int) -> set[int]:
    """A process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                stat = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                parents.setdefault(int(stat[1]), []).append(int(entry.name))
    found, todo = set(), [pid]
    while todo:
        one = todo.pop()
        found.add(one)
        todo += parents.get(one, [])
    return found
