"""The networks of three small projects."""
