"""Checks of linearity, and the theorem: is it a convolution."""
