"""Where values leave the operations that are followed."""
