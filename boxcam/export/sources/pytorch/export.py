"""What the ways in that export by torch have in common."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import onnx_ir as ir


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the frameworks' own log lines and prints off the user's screen; errors still come as exceptions."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def read(file: str) -> ir.Model:
    """A file that torch wrote, as a graph that does not need it any more."""
    graph = ir.load(file)
    ir.external_data.load_to_model(graph)
    for constant in graph.graph.initializers.values():
        constant.const_value = ir.tensor(constant.const_value.numpy().copy(), name=constant.name)  # type: ignore[union-attr]
    return graph
