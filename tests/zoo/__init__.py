"""Networks that others wrote, in small configurations with random weights."""
