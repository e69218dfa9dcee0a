"""For each class of Keras that is imported, how a model with such a layer is drawn."""

from tests.exchange.keras.cases import elements, operations, sequences, space  # noqa: F401 (they fill the table)
from tests.exchange.keras.cases.table import CASES, ELSEWHERE, IDLE, NEEDED, REFUSED, Case, Inner

__all__ = ["CASES", "ELSEWHERE", "IDLE", "NEEDED", "REFUSED", "Case", "Inner"]
