"""What params.yaml may say, and how a preset is laid over it."""
