"""Shows a comparison to people: as a table and as a page."""
