"""A benchmark of heatmaps in which the right answer is known: small detectors with and without a planted cue."""
