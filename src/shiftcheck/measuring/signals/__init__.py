"""The signals: arguments, shifts, and content from outside."""
