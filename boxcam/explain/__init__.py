"""Maps that say why a box was drawn: methods, placement on the image, pictures.

The package is callable, since ``boxcam.explain(...)`` is both its name and that of its main function; see
`boxcam.explain.explainer.explain`.
"""

from __future__ import annotations

import sys
import types
from typing import Any


class _Callable(types.ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from boxcam.explain.explainer import explain

        return explain(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
