"""A session as a Colab notebook of one cell, which clones this checkout's commit."""
