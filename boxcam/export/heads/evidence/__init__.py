"""What a graph, and one run of it, tell of its outputs: what makes columns, where rows lie, what the numbers are."""
