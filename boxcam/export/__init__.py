"""From a trained detector to a bundle. ``boxcam.export(…)`` is the way in."""
