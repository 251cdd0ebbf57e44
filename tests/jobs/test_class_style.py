"""Names and colours that a person gives to classes reach the files that are written."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from shapely.geometry import box

from geotoolbox.core.classes import ClassTable
from geotoolbox.errors import BadInput
from geotoolbox.jobs import rasterize
from geotoolbox.jobs.class_style import restyle
from tests.make import NORTH_UP, write_raster


def test_a_class_is_meant_by_its_value_or_its_name_and_others_stay_as_they_are() -> None:
    table = ClassTable.from_names({1: "a", 2: "b", -3: "c"}, {2: (1, 2, 3)})
    styled = restyle(table, ["1=open = water #3A78c8", "c=#000000", "9=nobody #ffffff", "d=nobody"])
    assert styled.values == (1, 2, -3) and styled.names == ("open = water", "b", "c")
    assert styled.colors == ((58, 120, 200), (1, 2, 3), (0, 0, 0))


def test_names_that_another_layer_goes_by_are_kept() -> None:
    table = ClassTable.from_names({1: "1", 2: "b", 3: "c"})
    rows = ["1=open water", "b=forest", "c=town #102030"]
    assert restyle(table, rows, known=("open water", "b")).names == ("open water", "b", "town")
    assert restyle(table, rows, known=("b", "forest")).names == ("open water", "forest", "town")


@pytest.mark.parametrize("rows", [["water"], ["1=b"], ["=x #000000"]])
def test_what_is_no_style_or_gives_one_name_twice_is_refused(rows: list[str]) -> None:
    with pytest.raises(BadInput):
        restyle(ClassTable.from_names({1: "a", 2: "b"}), rows)


def test_a_class_raster_has_the_colours_that_were_asked_for(tmp_path: Path) -> None:
    image = write_raster(tmp_path / "image.tif", np.zeros((4, 4), "uint8"))
    left, top = NORTH_UP.c, NORTH_UP.f
    shapes = [box(left, top - 120, left + 60, top), box(left + 60, top - 120, left + 120, top)]
    labels = tmp_path / "labels.gpkg"
    gpd.GeoDataFrame({"class": ["forest", "water"]}, geometry=shapes, crs="EPSG:32612").to_file(labels)
    output = tmp_path / "classes.tif"
    rasterize.run(
        rasterize.Spec(
            labels=(str(labels),),
            like=str(image),
            label_column="class",
            output=str(output),
            class_style=("water=lake #0a0b0c", "forest=#1e6932"),
        )
    )
    with rasterio.open(output) as source:
        assert source.read(1)[0].tolist() == [1, 1, 2, 2]
        assert (source.colormap(1)[1][:3], source.colormap(1)[2][:3]) == ((30, 105, 50), (10, 11, 12))
    assert (
        '<paletteEntry value="2" color="#0a0b0c" alpha="255" label="lake"/>'
        in output.with_suffix(".qml").read_text()
    )
