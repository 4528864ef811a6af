"""The steps of an export that change or read graphs; `boxcam.export.pipeline` is the list of all of them."""
