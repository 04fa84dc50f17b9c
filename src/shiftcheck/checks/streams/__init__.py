"""Models on streams: what has to be remembered, and whether a step gives what the whole does."""
