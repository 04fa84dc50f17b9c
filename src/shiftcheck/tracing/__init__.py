"""One forward pass, followed operation by operation."""
