"""One box by several methods at several layers, next to each other."""
