"""Brier score and likelihood of class probabilities."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from geoseg.change.maps import source_of_array
from geoseg.change.shares import ClassShares, ShareArray
from geoseg.evaluate import plan as plan_module
from geoseg.evaluate.scene_scores import score_scene
from tests.evaluate.conftest import as_map, natural


def test_scores_are_those_of_the_stored_probabilities_for_every_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = natural((70, 60))
    rng = np.random.default_rng(3)
    shares = rng.multinomial(254, rng.dirichlet([1, 1, 1, 1], size=truth.shape)).transpose(2, 0, 1).astype(np.uint8)
    shares[:, 10:20, :9] = 255
    mapped = np.where(shares[0] == 255, 255, shares.argmax(axis=0) + 1).astype(np.uint8)
    source = source_of_array("map", as_map(mapped), None, None)
    source = replace(source, shares=ClassShares(read=ShareArray(shares=shares), values=(1, 2, 3, 4)))
    known = (truth != 255) & (shares[0] != 255)
    p, labels = shares[:, known].T / 254, truth[known] - 1
    brier = ((p - np.eye(4)[labels]) ** 2).sum(axis=1).mean()
    nll = -np.log(np.maximum(p[np.arange(len(p)), labels], 0.5 / 254)).mean()
    for side in (2048, 32):
        monkeypatch.setattr(plan_module, "BLOCK_PX", side)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = score_scene("scene", source, source_of_array("truth", as_map(truth), None, None), pool).shares
        assert found is not None
        assert found.n == known.sum()
        assert found.brier == pytest.approx(brier, rel=1e-12)
        assert found.nll == pytest.approx(nll, rel=1e-12)
