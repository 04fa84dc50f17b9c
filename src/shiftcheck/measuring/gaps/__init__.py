"""Which samples of a layer are compared, and how far apart they are."""
