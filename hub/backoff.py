"""How long to wait until what failed is tried again: ever longer, and unevenly, so that no two processes keep step."""

import random


def pause(failures: int, first: float, longest: float) -> float:
    """Seconds, after so many failures in a row: `first`, doubled with each more up to `longest`, drawn from the upper half of that."""
    return min(longest, first * 2 ** min(failures - 1, 30)) * random.uniform(0.5, 1.0)  # noqa: S311 (spread, not secrecy)
