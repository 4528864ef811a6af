"""A page to browse the boxes of many images: a thumbnail of each, in one file that needs nothing else."""
