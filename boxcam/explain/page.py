"""The paper of sheets: its colours, BGR, and what is left free, in pixels."""

PAPER, FRAME, INK, MUTED = (255, 255, 255), (238, 236, 234), (33, 30, 28), (125, 116, 110)
MARGIN, GAP = 28, 20
