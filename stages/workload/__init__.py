"""What runs inside an image: supervisor, probes and measurements.

Python 3.7 syntax, standard library only; torch only in what measures it, and where its version is asked.
"""
