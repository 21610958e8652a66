"""Real stores of either kind."""

from tests.support.media import store
from tests.support.patience import as_the_hub_waits, patient_stores

__all__ = ["as_the_hub_waits", "patient_stores", "store"]
