"""What a user would run to check boxcam's figures: ``make bench``, or ``python benchmarks/run.py``."""
