"""The choices that a prediction leaves to its caller."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from geotoolbox.core.cluster import Cluster
from geotoolbox.errors import BadInput, explain

__all__ = ["PredictOptions"]


@dataclass(frozen=True, slots=True)
class PredictOptions:
    """How a scene is predicted; what is None comes from the model or the machine.

    Attributes:
        tile_px: Side of the square that the network sees at once.
        overlap_px: Overlap of neighbouring tiles, at most half a tile. Default: a quarter of a tile,
            more where the halo needs it.
        halo_px: Border of each tile that is discarded, at most half the overlap.
        batch_size: Tiles in one forward pass; every pass of a run has this many.
        threads: Threads of one forward pass; the same in all of a run.
        block_px: Side of a block, the unit of resuming; made a multiple of the stride.
        probabilities: Where to write the probability of each class (uint8, scale 1/250).
        confidence: Where to write the largest probability (uint8, scale 1/250).
        entropy: Where to write the entropy, 1 where all classes are equally likely (uint8, scale 1/250).
        tta: Average over the eight flips and quarter turns of each tile.
        strict: Stop at the first tile that fails, instead of going on with nodata there.
        retry_failed: Run the blocks again that failed before.
        compress: Compression of the output files.
        resume: Go on where a stopped run ended.
        keep_work: Keep the working folder after success.
        executor: ``local``, or ``dask``: blocks are made by the workers of a cluster.
        cluster: Which cluster, for ``dask``; default: one of two processes on this machine.
        finish: Make no block: put together what shards have made (see ``predict_shard``).
    """

    tile_px: int | None = None
    overlap_px: int | None = None
    halo_px: int | None = None
    batch_size: int = 4
    threads: int | None = None
    block_px: int | None = None
    probabilities: Path | None = None
    confidence: Path | None = None
    entropy: Path | None = None
    tta: bool = False
    strict: bool = False
    retry_failed: bool = False
    compress: str = "deflate"
    resume: bool = True
    keep_work: bool = False
    executor: Literal["local", "dask"] = "local"
    cluster: Cluster = field(default_factory=Cluster)
    finish: bool = False

    def __post_init__(self) -> None:
        least = {"tile_px": 1, "overlap_px": 0, "halo_px": 0, "batch_size": 1, "threads": 1, "block_px": 1}
        for name, low in least.items():
            value = getattr(self, name)
            if value is not None and value < low:
                raise BadInput(explain(f"{name} is too small", got=value, expected=f"at least {low}"))

    def extra_outputs(self) -> dict[str, Path]:
        """Return the outputs asked for beside the class map, by name."""
        paths = {
            "probabilities": self.probabilities,
            "confidence": self.confidence,
            "entropy": self.entropy,
        }
        return {name: Path(path) for name, path in paths.items() if path is not None}
