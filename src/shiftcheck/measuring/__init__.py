"""The model on shifted copies, each layer compared with the base."""
