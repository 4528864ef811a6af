"""Sanity checks: do maps change when what the model has learned is destroyed?"""
