"""Real stores of either kind."""

from tests.support.media import store

__all__ = ["store"]
