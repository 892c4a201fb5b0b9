"""A session as a Kaggle notebook: one script that carries the checkout, pushed, followed and fetched."""
