"""Says from repeated measurements what differs, and how sure that is."""
