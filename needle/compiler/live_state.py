"""The numbers that calls count and draw from: those of optimizers, schedules and scalers, and the random state."""

from __future__ import annotations

import copy
from typing import Any

from needle.backend_ndarray import random


class LiveState:
    """What they are at a moment.

    live_objects: those whose `live_attributes` change from call to call.
    """

    def __init__(self, live_objects: list[Any]) -> None:
        self._attributes = [
            (of, key, vars(of)[key], copy.copy(vars(of)[key]))
            for of in live_objects
            for key in type(of).live_attributes
        ]
        self._random = random.get_state()

    def restore(self) -> None:
        """Makes them what they were."""
        for of, key, value, kept in self._attributes:
            if isinstance(value, list):  # others may hold it
                value[:] = kept
            vars(of)[key] = value if isinstance(value, list) else kept
        random.set_state(self._random)
