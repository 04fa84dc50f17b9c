"""A model over a whole set of data: how bad a break is in practice."""
