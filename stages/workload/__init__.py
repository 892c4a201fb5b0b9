"""What runs inside an image: learners, clocks and probes. Python 3.7 syntax; torch and fastai are its only needs."""
