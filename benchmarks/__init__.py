"""Benchmarks: what is measured, side by side, and never asserted by a test."""
