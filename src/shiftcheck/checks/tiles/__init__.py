"""Inference in tiles: which tiles give what the whole does, and the model run on them."""
