"""From a trained detector to a bundle.

The package is callable, since ``boxcam.export(...)`` is both its name and that of its main function; see
`boxcam.export.pipeline.export`.
"""

from __future__ import annotations

import sys
import types
from typing import Any


class _Callable(types.ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from boxcam.export.pipeline import export

        return export(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
