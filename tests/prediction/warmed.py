"""Imported once before processes are forked: they find the compiled loops ready, and do not load them each anew."""

from __future__ import annotations

import tempfile
from pathlib import Path

from geotoolbox.prediction import loops
from tests.prediction.work import predict_small

with tempfile.TemporaryDirectory() as folder:
    predict_small(Path(folder))

READY = loops.__all__
