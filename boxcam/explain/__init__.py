"""Maps that say why a box was drawn: methods, placement on the image, pictures. ``boxcam.explain(…)`` is the way in."""
