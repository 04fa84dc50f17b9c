"""A check of invariance: does the output stay as it is under shifts."""
