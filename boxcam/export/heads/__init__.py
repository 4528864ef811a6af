"""What a model lacks between its last layer and its detections, appended as standard operators.

Every head ends in the same three outputs: boxes float32 [K, 4], x1 y1 x2 y2 in pixels of the model input; scores
float32 [K]; labels int64 [K].  All of it selects, decodes or activates, so that a score can be followed back to its
logit.
"""
