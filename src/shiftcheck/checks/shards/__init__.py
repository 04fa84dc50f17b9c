"""How a model is split over devices, and whether that gives what the whole gives."""
