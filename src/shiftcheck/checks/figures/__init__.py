"""Figures that are measured and not judged."""
