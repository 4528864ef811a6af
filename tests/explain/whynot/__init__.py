"""Why a box was not reported: the pixels of a picture are what the detector computes, so that the truth is known."""
