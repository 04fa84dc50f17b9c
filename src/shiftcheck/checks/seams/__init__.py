"""Whether a model that runs tile by tile gives what it gives on the whole."""
