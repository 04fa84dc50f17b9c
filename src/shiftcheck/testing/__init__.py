"""Assertions for test suites, error budgets, and the side of pytest."""
