"""What an operation without a rule does to a shift, found by experiments."""
