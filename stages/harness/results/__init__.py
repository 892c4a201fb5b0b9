"""Reads what the cells measured, and makes metrics of it."""
