"""MNIST digits: the reader of its files, the fifty digits that are shipped, and a larger canvas."""

from shiftcheck.models.digit_images import digits, embed, mnist, read_idx, standardise

__all__ = ["digits", "embed", "mnist", "read_idx", "standardise"]
