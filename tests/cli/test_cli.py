"""The command line, run as a person runs it."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from geotoolbox.cli import main
from geotoolbox.cli.show import JsonLines
from geotoolbox.core.events import Metric
from geotoolbox.jobs.registry import JOBS


def call(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "geotoolbox", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, timeout=600)


def test_help_names_every_job_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from geotoolbox.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'rasterio', 'pydantic', 'numpy', 'geopandas'} & set(sys.modules)\n"
        "print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
    assert all(name in done.stdout for name in JOBS)


@pytest.mark.parametrize("job", sorted(JOBS))
def test_each_job_has_help_for_each_of_its_options(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([job, "--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    for name, field in JOBS[job].spec.model_fields.items():
        option = name if name == JOBS[job].positional else "--" + name.replace("_", "-")
        assert option in text
        assert field.description, f"{job}.{name} has no description"


def test_bad_input_ends_with_2_and_says_why(tmp_path: Path) -> None:
    done = call("evaluate", "--map", "gone.tif", "--reference", "also_gone.tif", cwd=tmp_path)
    assert done.returncode == 2
    assert "gone.tif" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_value_out_of_its_limits_names_the_option(tmp_path: Path) -> None:
    done = call("polygonise", "--map", "m.tif", "--minimum-area-m2", "-3", cwd=tmp_path)
    assert done.returncode == 2
    assert "minimum_area_m2" in done.stderr


def test_json_lines_end_with_the_result(tmp_path: Path) -> None:
    done = call("run", "gone.yaml", "--events", "jsonl", cwd=tmp_path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["kind"] == "result"
    assert lines[-1]["exit_code"] == 2
    assert "gone.yaml" in lines[-1]["message"]


def test_a_json_line_has_null_where_a_number_is_undefined() -> None:
    stream = io.StringIO()
    lines = JsonLines(stream)
    lines.emit(Metric("loss", math.nan, 1))
    lines.result({"seam_ratio": math.nan, "areas": [1.5, math.inf], "path": Path("a")})
    first, last = (json.loads(line, parse_constant=pytest.fail) for line in stream.getvalue().splitlines())
    assert first["value"] is None and first["step"] == 1
    assert last["seam_ratio"] is None and last["areas"] == [1.5, None] and last["path"] == "a"
