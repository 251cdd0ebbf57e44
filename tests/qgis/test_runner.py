"""The runner with engines that behave, and with engines that do not: real processes, no QGIS."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import PLUGIN, MakeEngine

from geotoolbox_qgis.environment import clean_environment  # isort: skip
from geotoolbox_qgis.runner import Cancelled, EngineError, run_engine  # isort: skip

GOOD = """
print(HELLO, flush=True)
job = json.loads(sys.stdin.readline())
"""


PATIENCE_S = 60.0
"""More than a busy machine takes, and far less than the engines below would go on for."""


class Ears:
    """What was heard from an engine; cancels after so many events where that is asked for."""

    def __init__(self, cancel_after: int | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self._after = cancel_after
        self.cancelled_at: float | None = None

    def cancelled(self) -> bool:
        if self._after is None or len(self.events) < self._after:
            return False
        self.cancelled_at = self.cancelled_at or time.monotonic()
        return True


def call(python: str, folder: Path, ears: Ears, **more: Any) -> dict[str, Any]:
    return run_engine(
        python,
        more.get("job", "train"),
        more.get("spec", {"epochs": 2}),
        needs=more.get("needs", "0.1.0"),
        on_event=ears.events.append,
        on_line=ears.lines.append,
        is_cancelled=ears.cancelled,
        folder=folder,
        outputs=more.get("outputs", ()),
    )


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_job_goes_in_and_events_and_result_come_out(fake_engine: MakeEngine, tmp_path: Path) -> None:
    python = fake_engine(
        GOOD + "print('noise from a library')\nsay(kind='progress', stage='ä', done=1, total=2)\n"
        "print('more noise', file=sys.stderr)\nsay(kind='result', exit_code=0, job=job, where=os.getcwd())\n"
    )
    ears = Ears()
    result = call(python, tmp_path, ears, spec={"output": "é.tif"})
    assert result["job"] == {"job": "train", "spec": {"output": "é.tif"}}
    assert result["where"] == str(tmp_path)
    assert [e["stage"] for e in ears.events] == ["ä"]
    assert set(ears.lines) == {"noise from a library", "more noise"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (GOOD + "say(kind='result', exit_code=2, message='no overlap. Fix: x')", "no overlap. Fix: x"),
        (GOOD + "os.kill(os.getpid(), signal.SIGKILL)", "memory was full"),
        (GOOD + "print('Traceback: boom', file=sys.stderr); sys.exit(7)", "exit code 7. Its last words: Traceback: boom"),
        ("sys.exit('python: No module named geotoolbox')", "has no geotoolbox. Fix: run 'Set up the engine'"),
        ("print('I am a calculator')", "did not start (exit code 0). Its last words: I am a calculator"),
        ("print(HELLO.replace('\"protocol\": 1', '\"protocol\": 2'), flush=True); time.sleep(600)", "update this plugin"),
        ("print(HELLO.replace('0.1.0', '0.0.9'), flush=True); time.sleep(600)", "version 0.0.9, this plugin needs 0.1.0"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_said_in_words(
    fake_engine: MakeEngine, tmp_path: Path, body: str, words: str
) -> None:
    with pytest.raises(EngineError) as caught:
        call(fake_engine(body), tmp_path, Ears())
    assert words in str(caught.value)


def test_a_path_that_is_no_program_is_said(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be started"):
        call(str(tmp_path / "nothing"), tmp_path, Ears())


def test_a_polite_engine_is_cancelled_at_once(fake_engine: MakeEngine, tmp_path: Path) -> None:
    python = fake_engine(
        GOOD + "say(kind='log', level='info', message='at work')\norder = json.loads(sys.stdin.readline())\n"
        "say(kind='result', exit_code=130, message=f\"kept: {order['command']}\")\n"
    )
    ears = Ears(cancel_after=1)
    with pytest.raises(Cancelled, match="kept: cancel"):
        call(python, tmp_path, ears)
    assert ears.cancelled_at is not None and time.monotonic() - ears.cancelled_at < PATIENCE_S


def test_a_deaf_engine_its_children_and_its_half_written_files_are_gone(
    fake_engine: MakeEngine, tmp_path: Path
) -> None:
    python = fake_engine(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        + GOOD
        + "open(f'map.{os.getpid()}.part.tif', 'w').close()\n"
        "child = subprocess.Popen(['sleep', '600'])\nsay(kind='log', pids=[os.getpid(), child.pid])\ntime.sleep(600)\n"
    )
    ears = Ears(cancel_after=1)
    other = tmp_path / "map.1.part.tif"
    other.touch()
    with pytest.raises(Cancelled):
        call(python, tmp_path, ears, outputs=[str(tmp_path / "map.tif")])
    assert ears.cancelled_at is not None and time.monotonic() - ears.cancelled_at < PATIENCE_S
    assert ears.events[0]["pids"] and not any(alive(pid) for pid in ears.events[0]["pids"])
    assert sorted(tmp_path.glob("*.part*")) == [other], "only what this engine left is removed"


def test_cancel_is_heard_while_the_engine_still_starts(fake_engine: MakeEngine, tmp_path: Path) -> None:
    ears = Ears(cancel_after=0)
    started = time.monotonic()
    with pytest.raises(Cancelled):
        call(fake_engine("time.sleep(600)"), tmp_path, ears)
    assert time.monotonic() - started < PATIENCE_S


def test_the_environment_of_qgis_does_not_reach_the_engine() -> None:
    foreign = {
        "PYTHONHOME": "/q", "PYTHONPATH": "/q", "PROJ_LIB": "/q", "PROJ_DATA": "/q", "GDAL_DATA": "/q",
        "GDAL_DRIVER_PATH": "/q", "GDAL_PAM_PROXY_DIR": "/q", "QGIS_PREFIX_PATH": "/q", "LD_LIBRARY_PATH": "/q",
        "QT_PLUGIN_PATH": "/q", "OSGEO4W_ROOT": "C:/OSGeo4W", "SSL_CERT_FILE": "C:/OSGeo4W/bin/curl-ca-bundle.crt",
        "VIRTUAL_ENV": "/q", "CONDA_PREFIX": "/q",
    }  # fmt: skip
    own = {"PATH": "/usr/bin", "HOME": "/h", "HTTPS_PROXY": "http://proxy", "CUDA_VISIBLE_DEVICES": "0"}
    own |= {"SSL_CERT_FILE": "/etc/ssl/certs/ca.crt"}
    assert clean_environment(foreign | own) == own
    assert (
        clean_environment({"LD_LIBRARY_PATH": "/x", "GEOTOOLBOX_KEEP_ENV": "LD_LIBRARY_PATH"})[
            "LD_LIBRARY_PATH"
        ]
        == "/x"
    )


SLOW_JOB = """
from geotoolbox.core.events import Log, check_cancelled
from geotoolbox.jobs.spec import JobSpec
import time

class Spec(JobSpec):
    deaf: bool = False

def run(spec, events):
    print("a library prints")
    events.emit(Log("working"))
    while True:
        time.sleep(0.05)
        if not spec.deaf:
            check_cancelled(events)
"""

DRIVER = """
import sys
sys.path.insert(0, {folder!r})
from geotoolbox.jobs.registry import JOBS, Job
JOBS["slow"] = Job("slow", "", "slow_job")
from geotoolbox.cli.worker import main
main()
"""


@pytest.fixture
def slow_worker(tmp_path: Path) -> list[str]:
    """The command of the real worker, with one more job that never ends by itself."""
    (tmp_path / "slow_job.py").write_text(SLOW_JOB)
    (tmp_path / "driver.py").write_text(DRIVER.format(folder=str(tmp_path)))
    return [sys.executable, "-u", str(tmp_path / "driver.py")]


@pytest.mark.parametrize("deaf", ["false", "true"])
def test_the_engine_ends_when_its_parent_is_gone(slow_worker: list[str], deaf: str) -> None:
    pipe = subprocess.PIPE
    process = subprocess.Popen(slow_worker, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
    assert process.stdin and process.stdout
    assert '"protocol": 1' in process.stdout.readline()
    process.stdin.write(f'{{"job": "slow", "spec": {{"deaf": {deaf}}}}}\n')
    process.stdin.flush()
    assert '"working"' in process.stdout.readline(), "what a library prints is not among the lines"
    process.stdin.close()
    assert process.wait(PATIENCE_S) == 130
    process.stdout.close()


def test_the_engine_is_gone_when_qgis_is_killed(slow_worker: list[str], tmp_path: Path) -> None:
    wrapper = tmp_path / "python"
    wrapper.write_text(f"#!/bin/sh\nexec {slow_worker[0]} -u {slow_worker[2]}\n")
    wrapper.chmod(0o755)
    code = (
        f"import sys; sys.path.insert(0, {str(PLUGIN)!r})\n"
        "from pathlib import Path\nfrom geotoolbox_qgis.runner import run_engine\n"
        f"run_engine({str(wrapper)!r}, 'slow', {{}}, needs='0', on_event=lambda e: print('event', flush=True),\n"
        f"  on_line=lambda l: None, is_cancelled=lambda: False, folder=Path({str(tmp_path)!r}))\n"
    )
    qgis = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert qgis.stdout and qgis.stdout.readline() == "event\n"
    children = Path(f"/proc/{qgis.pid}/task/{qgis.pid}/children").read_text().split()
    engine = int(children[0])
    qgis.send_signal(signal.SIGKILL)
    qgis.wait()
    qgis.stdout.close()
    until = time.monotonic() + PATIENCE_S
    while alive(engine) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(engine)
