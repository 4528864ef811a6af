"""How an extra with OpenMMLab's packages is installed, whose version conflicts pip alone does not solve."""

WAY = "in a clone of boxcam and by uv, as docs/install.md shows"
