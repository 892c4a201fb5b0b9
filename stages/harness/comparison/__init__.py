"""Compares every setting with the baseline, and says why they differ."""
