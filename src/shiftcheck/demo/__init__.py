"""The tour, and the digit that moves."""
