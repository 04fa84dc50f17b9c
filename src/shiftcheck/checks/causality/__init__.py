"""Whether anything of the future reaches the outputs of a model."""
