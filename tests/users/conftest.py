"""The project in this folder is a user's: its tests are run by ours, as the user runs them."""

collect_ignore = ["project"]
