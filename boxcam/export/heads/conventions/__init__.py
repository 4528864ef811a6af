"""Conventions of outputs: how exporters lay out scores and boxes, and the table of them.

Each entry declares what is published of it (`entry`): shapes, columns, the format of its boxes, what makes its scores.
A model's outputs are of the convention whose shapes they have and which the graph confirms; `recognise` decides, and
asks where it cannot.
"""
