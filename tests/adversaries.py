"""The table of adversaries: wrong and right implementations, and what each is wrong in.

They were written without knowledge of how a certificate is made, in the spirit of real bugs and of
cheats. `ADVERSARIES` must be refused. `UNSEEN` cannot be seen by any finite test, for a reason of
one of the kinds in `KIND`. `RIGHT` must be accepted, `NORMWISE` not refuted.
"""

from tests import adversaries_calls, adversaries_shapes, adversaries_values
from tests.adversaries_right import NORMWISE, RIGHT
from tests.adversaries_unseen import KIND, UNSEEN

ADVERSARIES = [*adversaries_values.ROWS, *adversaries_calls.ROWS, *adversaries_shapes.ROWS]

__all__ = ["ADVERSARIES", "KIND", "NORMWISE", "RIGHT", "UNSEEN"]
