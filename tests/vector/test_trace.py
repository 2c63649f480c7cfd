"""Room for what is traced: too little of it would be written past."""

import hypothesis.extra.numpy as npst
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from geoseg.vector.trace import _ones

EVERY_BIT = 0xFF


@given(npst.arrays(np.uint8, st.integers(0, 9).map(lambda n: 8 * n)), st.integers(0, EVERY_BIT))
def test_bits_are_counted_as_numpy_counts_them(data: NDArray[np.uint8], bits: int) -> None:
    pattern = int(np.frombuffer(bytes([bits]) * 8, np.int64)[0])
    assert _ones(data.view(np.int64), pattern) == np.unpackbits(data & np.uint8(bits)).sum()
