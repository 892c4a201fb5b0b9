"""Reads what the cells measured, and makes figures of it."""
