"""Where jobs run: in images by a Docker engine, or on the host itself."""
