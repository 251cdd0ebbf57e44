"""A made-up piece of land, from a seed: relief, a river, forest, fields, towns, and what a satellite sees.

Everything is computed on one fine grid in metres, around a point, so that images in any projection can be
taken of the same land. docs/demo-scene.md tells the recipe in words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize, sieve
from scipy import fft, ndimage
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import KDTree, distance_matrix
from shapely.geometry import LineString
from shapely.ops import unary_union

__all__ = ["BAND_NAMES", "CROPLAND", "FOREST", "GRASSLAND", "SETTLEMENT", "WATER", "Land", "make_land"]

WATER, FOREST, GRASSLAND, CROPLAND, SETTLEMENT = 1, 2, 3, 4, 5
BAND_NAMES = ("blue", "green", "red", "nir")

_LEAST_CELLS = 40  # smaller patches join their neighbour, as on a map made by people

Float = NDArray[np.float32]
Int = NDArray[np.int64]

# Surface reflectance × 10,000 in blue, green, red, near infrared: typical of early summer in Central Europe.
_WATER = (520, 680, 470, 260)
_CONIFER, _BROADLEAF = (230, 400, 260, 2300), (290, 560, 310, 3700)
_GRASS = ((430, 860, 560, 3700), (520, 930, 760, 3000))
_CROPS = (
    (360, 720, 400, 4300),  # winter wheat, dense
    (560, 930, 820, 3300),  # barley, ripening
    (640, 1350, 1250, 3900),  # oilseed rape in bloom
    (800, 1060, 1290, 2200),  # maize, just up
    (980, 1220, 1560, 2050),  # bare soil
    (420, 800, 520, 3500),  # sugar beet
)
_ROOFS = ((1000, 1050, 1400, 1900), (1350, 1380, 1420, 1750), (2300, 2300, 2300, 2500), (800, 820, 860, 1250))
_STREET, _GARDEN = (900, 960, 1000, 1350), (450, 820, 600, 3100)


@dataclass(frozen=True, slots=True)
class Land:
    """The land on its fine grid (metres east and north of the middle).

    Attributes:
        transform: From (column, row) to metres.
        classes: (H, W) uint8, the class values of this module.
        parcels: (H, W) int32, the number of the field; meaningful on fields only.
        bands: (4, H, W) float32 surface reflectance × 10,000, as ``BAND_NAMES``.
        clouds: (H, W) bool, true where a cloud hides the land.
    """

    transform: Affine
    classes: NDArray[np.uint8]
    parcels: NDArray[np.int32]
    bands: Float
    clouds: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Ground:
    """What the steps share: coordinates in metres, the unit of the landscape and the parcels."""

    x: Float
    y: Float
    half_m: float
    transform: Affine

    @property
    def shape(self) -> tuple[int, int]:
        return self.x.shape[0], self.x.shape[1]


def make_land(half_m: float, cell_m: float, seed: int) -> Land:
    """Make a square of land, ``2 * half_m`` wide, in cells of ``cell_m`` metres.

    Example:
        >>> land = make_land(half_m=600, cell_m=10, seed=7)
        >>> land.classes.shape, sorted(set(land.classes.ravel().tolist()))
        ((120, 120), [1, 2, 3, 4, 5])
    """
    rngs = [np.random.default_rng([seed, step]) for step in range(7)]
    n = round(2 * half_m / cell_m)
    transform = Affine(cell_m, 0, -half_m, 0, -cell_m, half_m)
    along = ((np.arange(n, dtype=np.float32) + 0.5) * cell_m - half_m).astype(np.float32)
    ground = _Ground(np.tile(along, (n, 1)), np.tile(-along[:, None], (1, n)), half_m, transform)
    water, river_m = _waters(ground, rngs[0])
    relief = _fractal(ground.shape, 3.4, rngs[1])
    height = relief * (1 - np.exp(-((river_m / 1400) ** 2)))
    towns, core, roads = _towns(ground, rngs[2], water)
    parcels, turn = _parcels(ground, rngs[3])
    classes = _classes(
        ground, water=water, river_m=river_m, height=height, towns=towns, parcels=parcels, rng=rngs[4]
    )
    bands = _reflectance(ground, classes=classes, parcels=parcels, across=turn, core=core, rng=rngs[5])
    bands[:, roads & ~towns] = np.array(_STREET, np.float32)[:, None]
    bands *= _sunlight(height, cell_m)
    clouds, shadow = _clouds(ground.shape, cell_m, half_m, rngs[6])
    bands *= 1 - 0.45 * shadow
    blur = 5.0 / cell_m
    bands = np.stack([ndimage.gaussian_filter(b, blur) for b in bands])
    return Land(transform, classes, parcels.astype(np.int32), bands, clouds)


def _fractal(shape: tuple[int, int], slope: float, rng: np.random.Generator) -> Float:
    """Return noise whose power falls as frequency ** -slope; mean 0, deviation 1."""
    rows, columns = (fft.next_fast_len(n + n // 8, real=True) for n in shape)
    white = fft.rfft2(rng.standard_normal((rows, columns), dtype=np.float32), workers=1)
    fy, fx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)[None]
    power = np.hypot(fy, fx).astype(np.float32)
    power[0, 0] = np.inf
    noise = fft.irfft2(white * power ** (-slope / 2), s=(rows, columns), workers=1)[: shape[0], : shape[1]]
    return ((noise - noise.mean()) / noise.std()).astype(np.float32)


def _patchy(shape: tuple[int, int], slope: float, reach_cells: float, rng: np.random.Generator) -> Float:
    """Return fractal noise without its broad swings, so that patches spread evenly; deviation 1."""
    noise = _fractal(shape, slope, rng)
    broad = ndimage.gaussian_filter(noise[::4, ::4], reach_cells / 4)
    noise = noise - ndimage.zoom(broad, np.divide(shape, broad.shape), order=1)
    return noise / noise.std()


def _chance(numbers: NDArray[Any], salt: int) -> Float:
    """Return one fixed draw from [0, 1) for each number, the same wherever the number stands."""
    x = numbers.astype(np.uint32) * np.uint32(2654435761) + np.uint32(salt * 40503 + 977)
    x ^= x >> np.uint32(15)
    x *= np.uint32(2246822519)
    x ^= x >> np.uint32(13)
    x *= np.uint32(3266489917)
    x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)).astype(np.float32) * np.float32(2**-24)


def _waters(ground: _Ground, rng: np.random.Generator) -> tuple[NDArray[np.bool_], Float]:
    """Return where water is, and the distance to the river in metres."""
    big = ground.half_m / 6000
    path = _meander(ground.half_m, rng)
    widths = 42 + 12 * np.sin(np.linspace(0, 23, len(path)))
    widths *= max(big, 0.4)
    pieces = [LineString(path[i : i + 12]).buffer(float(widths[i])) for i in range(0, len(path) - 12, 10)]
    brook = _meander(ground.half_m, rng)[:, ::-1] * [0.8, 1.0] + [0.35 * ground.half_m, 0]
    keep = brook[:, 1] > np.interp(brook[:, 0], path[:, 0], path[:, 1])
    pieces.append(LineString(brook[keep]).buffer(9 * max(big, 0.6)))
    lakes = _fractal(ground.shape, 3.2, rng)
    river = rasterize([(unary_union(pieces), 1)], ground.shape, transform=ground.transform).astype(bool)
    spots = _blobs(ground, [(-0.52, 0.45), (0.55, -0.52)], 420 * max(big, 0.35)) + 0.18 * lakes
    line = rasterize([(LineString(path), 1)], ground.shape, transform=ground.transform, all_touched=True)
    return river | (spots > 0.62), _distance_m(line.astype(bool), ground)


def _distance_m(there: NDArray[np.bool_], ground: _Ground) -> Float:
    """Return the distance to the nearest true cell, in metres, from every fourth cell."""
    coarse = np.zeros([-(-n // 4) for n in there.shape], bool)
    for row in range(4):
        for column in range(4):
            part = there[row::4, column::4]
            coarse[: part.shape[0], : part.shape[1]] |= part
    far = ndimage.distance_transform_edt(~coarse) * ground.transform.a * 4
    return ndimage.zoom(far, np.divide(ground.shape, far.shape), order=1).astype(np.float32)


def _meander(half_m: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return the line of a river from west to east: a curve whose direction swings."""
    steps = np.linspace(0, 1, 1600)
    phase, second = rng.uniform(0, 2 * np.pi, 2)
    swing = (
        1.15
        * np.sin(2 * np.pi * 7.5 * steps + phase)
        * (0.65 + 0.35 * np.sin(2 * np.pi * 2.3 * steps + second))
    )
    heading = swing + 0.45 * np.sin(2 * np.pi * 1.4 * steps + second)
    x, y = np.cumsum(np.cos(heading)), np.cumsum(np.sin(heading))
    x = (x - x[0]) / (x[-1] - x[0])
    y = y - np.linspace(y[0], y[-1], len(y))
    y = (y - y.mean()) / len(y) * 1.9
    return np.stack([(x - 0.5) * 2.5 * half_m, (y - 0.10 + 0.22 * (x - 0.5)) * 2 * half_m], axis=1)


def _blobs(ground: _Ground, places: list[tuple[float, float]], radius_m: float) -> Float:
    """Return bumps of height 1 at places in units of the half width."""
    total = np.zeros(ground.shape, np.float32)
    for x, y in places:
        far = (ground.x - x * ground.half_m) ** 2 + (ground.y - y * ground.half_m) ** 2
        total = np.maximum(total, np.exp(-far / (2 * radius_m**2)))
    return total


def _towns(
    ground: _Ground, rng: np.random.Generator, water: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], Float, NDArray[np.bool_]]:
    """Return the built-up area, how urban it is (0–1), and the roads between the places."""
    big = max(ground.half_m / 6000, 0.25)
    large = [(-0.42, -0.02), (0.46, 0.12)]
    small = [(float(x), float(y)) for x, y in rng.uniform(-0.95, 0.95, (24, 2))]
    core = _blobs(ground, large, 560 * big)
    density = np.maximum(core, 0.80 * _blobs(ground, small[:10], 250 * big))
    density = np.maximum(density, 0.70 * _blobs(ground, small[10:], 150 * big))
    ragged = density * (
        1 + 0.30 * _patchy(ground.shape, 2.6, 400 * big / ground.transform.a, rng)
    ) + 0.06 * _fractal(ground.shape, 2.0, rng)
    built = (ragged > 0.5) & (density > 0.12) & ~water
    return ndimage.binary_opening(built, iterations=2), core, _roads(ground, [*large, *small])


def _roads(ground: _Ground, places: list[tuple[float, float]]) -> NDArray[np.bool_]:
    """Return the shortest net of roads, 12 m wide, that joins all places; each road bends a little."""
    points = np.array(places) * ground.half_m
    tree = minimum_spanning_tree(distance_matrix(points, points)).tocoo()
    along = np.linspace(0, 1, 40)[:, None]
    lines = []
    for start, end in zip(points[tree.row], points[tree.col], strict=True):
        aside = (end - start)[::-1] * [-1, 1]
        wave = 0.06 * np.sin(np.pi * along) + 0.025 * np.sin(3 * np.pi * along)
        lines.append(LineString(start + (end - start) * along + aside * wave).buffer(6))
    drawn = rasterize([(unary_union(lines), 1)], ground.shape, transform=ground.transform, all_touched=False)
    return drawn.astype(bool)


def _parcels(ground: _Ground, rng: np.random.Generator) -> tuple[Int, Float]:
    """Return the number of each field, and the position across its furrows in metres.

    The land falls into districts (Voronoi cells); each has its own direction, in which rows of fields of
    different depth and width lie side by side.
    """
    count = max(12, int((ground.half_m / 6000) ** 2 * 130))
    seeds = rng.uniform(-1.1, 1.1, (count, 2)) * ground.half_m
    bend = 60 * _fractal(ground.shape, 3.4, rng)
    x, y = ground.x + bend, ground.y + 0.7 * bend
    district = _nearest_seed(x, y, seeds)
    angle = rng.uniform(0, np.pi, count).astype(np.float32)[district]
    u = np.cos(angle) * x + np.sin(angle) * y
    v = np.cos(angle) * y - np.sin(angle) * x
    rows = np.cumsum(rng.uniform(140, 420, 400)).astype(np.float32)
    columns = np.cumsum(rng.choice([55, 80, 120, 180, 260], 900)).astype(np.float32)
    row = np.searchsorted(rows, v + rows[200])
    shift = 3000 * _chance(row + 400 * district, 1)
    column = np.searchsorted(columns, u + columns[450] + shift)
    return district * 400_000 + row * 1000 + column, u


def _nearest_seed(x: Float, y: Float, seeds: NDArray[np.float64]) -> Int:
    """Return the nearest seed of every second cell, repeated: the borders are field edges anyway."""
    coarse = np.stack([x[::2, ::2], y[::2, ::2]], axis=-1)
    _, index = KDTree(seeds.astype(np.float32)).query(coarse)
    return index.repeat(2, axis=0).repeat(2, axis=1)[: x.shape[0], : x.shape[1]].astype(np.int64)


def _classes(
    ground: _Ground,
    *,
    water: NDArray[np.bool_],
    river_m: Float,
    height: Float,
    towns: NDArray[np.bool_],
    parcels: Int,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Return the land cover: forest on the heights and along the river, meadows in the valley, fields."""
    _, number = np.unique(parcels, return_inverse=True)
    number = number.reshape(parcels.shape)
    wooded = 0.55 * height + 0.8 * _fractal(ground.shape, 2.25, rng)
    wooded -= 2.2 * np.exp(-_distance_m(towns, ground) / 260)
    by_parcel = ndimage.mean(wooded, number, np.arange(number.max() + 1))[number]
    wooded = 0.35 * wooded + 0.65 * by_parcel
    forest = wooded > np.quantile(wooded[::8, ::8], 0.72)
    bank = max(ground.half_m / 6000, 0.4)
    forest |= (river_m < 170 * bank) & (_fractal(ground.shape, 2.2, rng) > 0.35)
    wet = np.exp(-river_m / (520 * bank))
    meadow = _chance(parcels, 2) < 0.20 + 0.75 * wet
    classes = np.where(meadow, GRASSLAND, CROPLAND)
    classes[forest] = FOREST
    classes[towns] = SETTLEMENT
    classes[water] = WATER
    return sieve(classes.astype(np.uint8), _LEAST_CELLS)


def _reflectance(
    ground: _Ground,
    *,
    classes: NDArray[np.uint8],
    parcels: Int,
    across: Float,
    core: Float,
    rng: np.random.Generator,
) -> Float:
    """Return what each spot reflects in the four bands, before sunlight and clouds."""
    fine, broad, conifers = (_fractal(ground.shape, slope, rng) for slope in (1.2, 2.8, 2.9))
    found = np.empty((len(BAND_NAMES), *ground.shape), np.float32)
    for value, crops, salt in ((CROPLAND, _CROPS, 3), (GRASSLAND, _GRASS, 4)):
        here = classes == value
        number = parcels[here]
        furrow = 1 + 0.02 * np.sin(across[here] / 4.0) + 0.03 * fine[here] + 0.06 * broad[here]
        found[:, here] = _pick(crops, _chance(number, salt)) * ((0.88 + 0.24 * _chance(number, 5)) * furrow)
    here = classes == FOREST
    share = 1 / (1 + np.exp(-6 * conifers[here]))
    found[:, here] = _mix(_BROADLEAF, _CONIFER, share) * (1 + 0.16 * fine[here])
    here = classes == SETTLEMENT
    found[:, here] = _town_texture(ground.x[here], ground.y[here], core[here], rng)
    here = classes == WATER
    found[:, here] = np.array(_WATER, np.float32)[:, None] * (1 + 0.05 * broad[here] + 0.02 * fine[here])
    return found


def _pick(spectra: tuple[tuple[int, ...], ...], chance: Float) -> Float:
    table = np.array(spectra, np.float32).T
    return table[:, np.minimum((chance * len(spectra)).astype(np.intp), len(spectra) - 1)]


def _mix(first: tuple[int, ...], second: tuple[int, ...], share: Float) -> Float:
    a, b = (np.array(s, np.float32)[:, None] for s in (first, second))
    return a + (b - a) * share


def _town_texture(x: Float, y: Float, core: Float, rng: np.random.Generator) -> Float:
    """Return houses with gardens between streets; bigger, paler roofs in the middle of a town."""
    turn = 0.5
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    street = (np.mod(u, 95) < 13) | (np.mod(v, 140) < 13)
    lot = np.floor(u / 24).astype(np.int64) * 9973 + np.floor(v / 28).astype(np.int64)
    hall = np.floor(u / 95).astype(np.int64) * 7919 + np.floor(v / 70).astype(np.int64)
    house = _chance(lot, 6) < 0.45 + 0.35 * core
    looks = np.where(house, _pick(_ROOFS[:2] + _ROOFS[3:], _chance(lot, 7)), _mix(_GARDEN, _GARDEN, core))
    looks = np.where(_chance(hall, 8) < 0.55 * core, _pick(_ROOFS[1:], _chance(hall, 9)), looks)
    looks[:, street] = np.array(_STREET, np.float32)[:, None]
    return looks * (1 + 0.06 * rng.standard_normal(x.shape, dtype=np.float32))


def _sunlight(height: Float, cell_m: float) -> Float:
    """Return the light that slopes get from a sun in the south-east, about 1."""
    smooth = ndimage.gaussian_filter(height, 60 / cell_m) * 75
    down, right = np.gradient(smooth, cell_m)
    return np.clip(1 + 1.3 * (right * 0.7 + down * 0.7), 0.6, 1.4).astype(np.float32)


def _clouds(
    shape: tuple[int, int], cell_m: float, half_m: float, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], Float]:
    """Return where clouds hide the land, and how deep their shadows are (0–1)."""
    noise = _patchy(shape, 3.0, 0.12 * half_m / cell_m, rng)
    dense = noise > np.quantile(noise[::8, ::8], 0.968)
    reach = round(0.09 * half_m / cell_m)
    moved = ndimage.shift(dense.astype(np.float32), (-reach, -reach // 2), order=0)
    shadow = ndimage.gaussian_filter(moved, 40 / cell_m)
    return ndimage.binary_dilation(dense, iterations=max(1, round(25 / cell_m))), shadow
