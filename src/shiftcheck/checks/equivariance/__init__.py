"""A check of equivariance: does the output move with the input."""
