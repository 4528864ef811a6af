"""Models of torchvision."""

PREFIX = "torchvision:"
"""What a model's name begins with where it is asked for."""
