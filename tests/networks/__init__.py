"""Networks rebuilt from their definitions in the papers."""
