"""The script that scores change on the sample scenes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geoseg.errors import InputError
from sample_data.classes import LEGEND
from sample_data.score import TRUTH
from sample_data.score_change import DATES, PLACES, RULES, f1, score_change


def test_truth_scores_one_and_every_rule_keeps_most_of_it(tmp_path: Path) -> None:
    for place in PLACES:
        for date in DATES:
            name = f"{place}_{date}"
            (tmp_path / name).mkdir()
            shutil.copy(TRUTH / f"{name}.tif", tmp_path / name / f"{name}_classes.tif")
            write_certain(tmp_path / name / f"{name}_probabilities.tif", TRUTH / f"{name}.tif")
    totals = score_change(tmp_path)
    assert f1(totals["plain differencing"]) == 1
    assert totals["plain differencing"][1:].tolist() == [0, 0]
    # real patches: a tolerance for misregistration that is not there hardly touches them
    assert f1(totals["--tolerance 1"]) > 0.98
    assert {name for name, counts in totals.items() if f1(counts) < 0.9} == set()
    assert set(totals) == set(RULES)


def write_certain(path: Path, truth: Path) -> None:
    """Probabilities of a model that knows."""
    with rasterio.open(truth) as dataset:
        classes, profile = dataset.read(1), dataset.profile
    shares = np.stack([np.where(classes == v, 254, 0) for v in LEGEND.values]).astype(np.uint8)
    shares[:, classes == LEGEND.nodata] = 255
    with rasterio.open(path, "w", **profile | {"driver": "GTiff", "count": len(shares)}) as dataset:
        dataset.write(shares)
        dataset.descriptions = LEGEND.names


def test_a_missing_map_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"valley_west_20190617_classes\.tif is missing"):
        score_change(tmp_path)


def test_without_change_and_without_mistakes_there_is_no_score() -> None:
    assert np.isnan(f1(np.zeros(3, dtype=np.int64)))
