"""The shipped model of two dates finds the change of the sample scenes far better than differencing two maps does."""

import numpy as np
import pytest

from sample_data.score_change import f1
from sample_data.train_siamese import ZOO, pair_statistics, score, train, training_pairs


@pytest.mark.slow
def test_it_scores_what_the_documents_say() -> None:
    assert f1(score("change-siamese", align=False, places=("valley_east",))) > 0.8


def test_its_training_learns_and_never_sees_the_committed_place() -> None:
    with pytest.raises(ValueError, match="committed place"):
        training_pairs([7], 96)
    pairs = training_pairs([101], 128)
    stats = pair_statistics(pairs)
    one, other = (train(pairs, stats, seed=3, iterations=2).state_dict() for _ in range(2))
    assert all(np.array_equal(one[k].numpy(), other[k].numpy()) for k in one)
    assert (ZOO / "weights.safetensors").stat().st_size < 3_000_000
