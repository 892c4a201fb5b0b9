"""What is compared between sites, for people: on the terminal and as a page."""
