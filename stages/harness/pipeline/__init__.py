"""Runs the DVC pipeline, and what DVC keeps of it."""
