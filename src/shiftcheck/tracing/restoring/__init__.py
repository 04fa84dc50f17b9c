"""Everything of the user is left as it was found."""
