"""Random requantisations whose outputs spread over the int8 range, for kernel tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from tinyc.numerics.profile import Profile
from tinyc.numerics.requantize import ChannelRequantization, channel_requantization

BOUNDS = [(-128, 127), (-128, 127), (-128, 127), (-20, 127), (-100, 90)]


def random_requantization(
    random: np.random.Generator, profile: Profile, accumulators: npt.NDArray[Any], *, coarse: bool = False
) -> ChannelRequantization:
    """For `accumulators` (..., C): scales that map their spread to about 100 levels; `coarse` gives scales around and above one."""
    channels = accumulators.shape[-1]
    spread = np.maximum(np.std(accumulators.reshape(-1, channels).astype(np.float64), axis=0), 1.0)
    wanted = random.uniform(0.3, 2.5, channels) * (1.0 if coarse else 50.0 / spread)
    minimum, maximum = BOUNDS[int(random.integers(len(BOUNDS)))]
    zero_point = minimum if random.random() < 0.4 else int(random.integers(-128, 128))
    return channel_requantization(profile, 0.5, np.asarray(wanted, dtype=np.float32), 0.5, zero_point, minimum, maximum)
