"""A bundle gives back what was put in, and refuses what could harm or mislead."""

from __future__ import annotations

import io
import json
import pickle
import stat
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from geotoolbox.core.classes import ClassInfo, ClassTable
from geotoolbox.core.query import Band
from geotoolbox.errors import BadBundle, BandMismatch, CannotRead, UnsafeBundle, UnsafeInput
from geotoolbox.models import Bundle, ModelSpec, Predictor, create_model, load_bundle, save_bundle
from geotoolbox.models.archive import CARD, WEIGHTS, sha256

CLASSES = ClassTable((ClassInfo(11, "water", (1, 2, 3)), ClassInfo(41, "<b>forest</b>"), ClassInfo(90, "ü")))
BANDS = (Band("red", 0.65), Band("nir", 0.86, "near infrared"))
SPEC = ModelSpec("fcn8s", in_channels=2, num_classes=3, width=2)


def network(spec: ModelSpec = SPEC) -> torch.nn.Module:
    torch.set_num_threads(1)
    torch.manual_seed(4)
    return create_model(spec).eval()


def bundle(**changes: object) -> Bundle:
    given_fields: dict[str, object] = {
        "spec": SPEC, "state": network().state_dict(), "bands": BANDS, "classes": CLASSES, "tile_px": 32,
        "resolution_m": 30.0, "crs": "EPSG:32612", "temperature": 1.5,
        "metrics": {"iou": [0.5, float("nan")]}, "history": ({"epoch": 1, "train_loss": 0.25},),
        "training_area": {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]},
        "report_html": "<p>é</p>",
    }  # fmt: skip
    return Bundle(**{**given_fields, **changes})  # type: ignore[arg-type]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return save_bundle(tmp_path / "ä b.gtb", bundle())


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {n: archive.read(n) for n in archive.namelist()}


def rezip(path: Path, parts: list[tuple[str | zipfile.ZipInfo, bytes]], compress: int = 0) -> Path:
    with zipfile.ZipFile(path, "w", compress) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, data in parts:
            archive.writestr(name, data)
    return path


def with_card(path: Path, change: object) -> Path:
    parts = members(path)
    item = json.loads(parts[CARD])
    change(item["properties"]["geotoolbox:card"])  # type: ignore[operator]
    parts[CARD] = json.dumps(item).encode()
    return rezip(path, list(parts.items()))


def test_what_was_saved_comes_back(saved: Path) -> None:
    back = load_bundle(saved)
    assert back.spec == SPEC and back.bands == BANDS and back.classes == CLASSES
    assert (back.tile_px, back.resolution_m, back.crs, back.temperature) == (32, 30.0, "EPSG:32612", 1.5)
    assert back.metrics == {"iou": [0.5, None]} and back.history == ({"epoch": 1, "train_loss": 0.25},)
    assert back.report_html == "<p>é</p>" and back.training_area == bundle().training_area
    assert "torch" in back.versions and back.created


def test_law_10_a_saved_and_loaded_bundle_predicts_the_same_bits(saved: Path) -> None:
    image, valid = torch.randn(2, 2, 40, 33), torch.rand(2, 40, 33) > 0.1
    before, after = Predictor(bundle())(image, valid), Predictor(load_bundle(saved))(image, valid)
    assert torch.equal(before, after)
    expected = torch.softmax(network()(torch.where(valid[:, None], image, 0.0)) / 1.5, dim=1)
    np.testing.assert_allclose(after.numpy(), expected.detach().numpy(), atol=1e-6)


def test_the_same_bundle_gives_the_same_bytes(tmp_path: Path) -> None:
    fixed = bundle(created="2026-01-01T00:00:00+00:00")
    one, two = (save_bundle(tmp_path / n, fixed).read_bytes() for n in ("a.gtb", "b.gtb"))
    assert one == two


def test_model_json_is_a_stac_item_with_mlm_fields(saved: Path) -> None:
    item = json.loads(members(saved)[CARD])
    properties = item["properties"]
    assert item["type"] == "Feature" and item["bbox"] == [0, 0, 1, 1]
    assert properties["mlm:input"][0]["bands"] == ["red", "nir"]
    assert properties["mlm:input"][0]["input"]["shape"] == [-1, 2, 32, 32]
    names = [c["name"] for c in properties["mlm:output"][0]["classification:classes"]]
    assert names == list(CLASSES.names)
    assert item["assets"]["model"]["file:checksum"] == "1220" + sha256(members(saved)[WEIGHTS])


def test_a_failed_save_leaves_the_old_file(saved: Path) -> None:
    before = saved.read_bytes()
    with pytest.raises(BadBundle):
        save_bundle(saved, bundle(temperature=-1.0))
    assert saved.read_bytes() == before and list(saved.parent.iterdir()) == [saved]


def test_r71_a_newer_bundle_is_refused_and_says_which_version_reads_it(saved: Path) -> None:
    def newer(card: dict[str, object]) -> None:
        card["schema_version"] = 2
        card["versions"] = {"geotoolbox": "9.1.0"}

    with pytest.raises(BadBundle, match=r"newer than this.*schema version 2.*version 9\.1\.0 wrote"):
        load_bundle(with_card(saved, newer))


def test_r72_other_weights_than_described_are_refused(saved: Path) -> None:
    parts = members(saved)
    state = {k: v + 1 for k, v in network().state_dict().items()}
    parts[WEIGHTS] = save({k: v.contiguous() for k, v in state.items()})
    with pytest.raises(BadBundle, match=r"not those that the bundle describes.*SHA-256"):
        load_bundle(rezip(saved, list(parts.items())))


@pytest.mark.parametrize("damage", ["garbage", "cut", "header"])
def test_r73_corrupt_weights_are_refused_with_the_file(saved: Path, damage: str) -> None:
    parts = members(saved)
    weights = parts[WEIGHTS]
    bad = {"garbage": b"no tensors", "cut": weights[:-100], "header": b"\xff" * 8 + weights[8:]}[damage]
    parts[WEIGHTS] = bad
    rezip(saved, list(parts.items()))
    path = with_card(saved, lambda card: card["checksums"].update({WEIGHTS: sha256(bad)}))
    with pytest.raises(BadBundle, match=r"weights cannot be read.*ä b\.gtb"):
        load_bundle(path)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_r73_a_flipped_byte_in_the_weights_is_noticed(saved: Path, share: float) -> None:
    whole, weights = bytearray(saved.read_bytes()), members(saved)[WEIGHTS]
    whole[bytes(whole).index(weights) + int(share * len(weights))] ^= 1
    saved.write_bytes(whole)
    with pytest.raises(BadBundle, match="damaged"):
        load_bundle(saved)


def test_r73_weights_of_another_network_are_refused() -> None:
    other = network(ModelSpec("fcn8s", in_channels=2, num_classes=3, width=4)).state_dict()
    with pytest.raises(BadBundle, match=r"do not fit the network.*differences, first"):
        bundle(state=dict(other)).module()


def test_r75_output_channels_that_are_not_the_classes_are_refused() -> None:
    with pytest.raises(BadBundle, match=r"output channels are not the classes. Got 3 channels, expected 2"):
        Predictor(bundle(classes=ClassTable(CLASSES.classes[:2])))


def test_r70_other_bands_are_named() -> None:
    predictor = Predictor(bundle())
    predictor.check_bands(["red", "nir"])
    with pytest.raises(BandMismatch, match=r"another order.*Got nir, red, expected red, nir"):
        predictor.check_bands(["nir", "red"])
    with pytest.raises(BandMismatch, match="reads 2 bands, the images have 3"):
        predictor.check_bands(["red", "nir", "dem"])
    with pytest.raises(
        BandMismatch, match=r"lack bands that the model reads: nir.*nir is missing: add its file"
    ):
        predictor.check_bands(["red"])
    with pytest.raises(BandMismatch, match=r"missing: nir.*name them in order: bands=\['red', 'nir'\]"):
        predictor.check_bands(["red", "swir"])


class Gadget:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran",)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_s01_a_pickle_is_refused_unrun(
    tmp_path: Path, protocol: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.gtb"
    path.write_bytes(pickle.dumps(Gadget(), protocol))
    with pytest.raises(UnsafeBundle, match="pickle"):
        load_bundle(path)
    assert capsys.readouterr().out == ""


def test_s01_a_torch_checkpoint_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.gtb")
    with pytest.raises(UnsafeBundle, match=r"data\.pkl.*can hold code"):
        load_bundle(tmp_path / "a.gtb")


@pytest.mark.parametrize("place", [CARD, WEIGHTS, "report.html"])
def test_s01_a_nested_pickle_or_zip_is_refused_unrun(
    saved: Path, place: str, capsys: pytest.CaptureFixture[str]
) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps(Gadget()))
    for evil in (pickle.dumps(Gadget()), inner.getvalue()):
        parts = members(saved)
        parts[place] = evil
        with pytest.raises(BadBundle):
            load_bundle(rezip(saved.with_name("evil.gtb"), list(parts.items())))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../a.json", "a/../../b", "..\\a.json", "C:\\a", "model.pkl", "code.py", "sub/", "extra.json",
     "MODEL.json", "model.json\0.txt"],
)  # fmt: skip
def test_s02_a_strange_entry_is_refused(saved: Path, name: str) -> None:
    parts = [*members(saved).items(), (name, b"{}")]
    with pytest.raises(UnsafeBundle, match="not safe to open"):
        load_bundle(rezip(saved, parts))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFDIR, stat.S_IFIFO])
def test_s02_links_and_devices_are_refused(saved: Path, kind: int) -> None:
    parts = members(saved)
    info = zipfile.ZipInfo("report.html")
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    kept: list[tuple[str | zipfile.ZipInfo, bytes]] = [(CARD, parts[CARD]), (WEIGHTS, parts[WEIGHTS])]
    with pytest.raises(UnsafeBundle, match="link, folder or device"):
        load_bundle(rezip(saved, [*kept, (info, b"/etc/passwd")]))


def test_s02_bombs_doubles_and_crowds_are_refused(saved: Path) -> None:
    parts = list(members(saved).items())
    with pytest.raises(UnsafeBundle, match="packed to less than"):
        load_bundle(rezip(saved, [*parts[:2], ("report.html", bytes(8 << 20))], zipfile.ZIP_DEFLATED))
    with pytest.raises(UnsafeBundle, match="twice"):
        load_bundle(rezip(saved, [*parts, parts[0]]))
    with pytest.raises(UnsafeBundle, match="entries"):
        load_bundle(rezip(saved, [*parts, *((f"{i}", b"") for i in range(20))]))
    with pytest.raises(UnsafeBundle, match="at most"):
        load_bundle(rezip(saved, [(CARD, b" " * (17 << 20)), *parts[1:]]))


@pytest.mark.parametrize("evil", ["builtins.eval", "/tmp/a", "http://a/b", "hf-hub:some/model"])
def test_s11_a_description_cannot_name_code_or_addresses(saved: Path, evil: str) -> None:
    for change in ({"architecture": evil}, {"architecture": "unet", "encoder": evil}):
        with pytest.raises(BadBundle):
            load_bundle(with_card(saved, lambda card, c=change: card["spec"].update(c))).module()


def test_a_huge_description_does_not_fill_the_memory(saved: Path) -> None:
    path = with_card(saved, lambda card: card["spec"].update({"width": 1024}))
    with pytest.raises(BadBundle, match="do not fit"):
        load_bundle(path).module()


def test_what_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotRead, match=r"none\.gtb"):
        load_bundle(tmp_path / "none.gtb")
    for name, data in (("empty.gtb", b""), ("text.gtb", b"hello"), ("half.gtb", b"PK\x03\x04abc")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadBundle, match=name):
            load_bundle(tmp_path / name)
    with pytest.raises(BadBundle, match=r"a zip without model\.json"):
        load_bundle(rezip(tmp_path / "a.gtb", [(WEIGHTS, b"")]))


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"properties": {"geotoolbox:card": 3}}', "[" * 100_000, "\xff"]
)
def test_a_broken_description_is_refused(saved: Path, text: str) -> None:
    parts = members(saved)
    parts[CARD] = text.encode("latin-1")
    with pytest.raises(BadBundle, match="description"):
        load_bundle(rezip(saved, list(parts.items())))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_s20_any_damage_gives_our_error_or_the_same_bundle(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = save_bundle(tmp_path_factory.mktemp("fuzz") / "a.gtb", bundle())
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, 1 << 20))  # a bundle's time of making changes its size by a byte
        whole[place % len(whole)] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, 200))
    path.write_bytes(bytes(whole[: len(whole) - cut]))
    try:
        back = load_bundle(path)
    except (BadBundle, UnsafeInput):
        return
    assert back.classes == CLASSES
    state = network().state_dict()
    assert all(torch.equal(back.state[k], v) for k, v in state.items())
