"""Looks before a run whether this machine can do what params.yaml asks for."""
