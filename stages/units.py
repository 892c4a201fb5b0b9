"""How amounts are written, on the host and inside images alike.

Runs inside images: Python 3.7 syntax, standard library only.
"""


def amount(size_bytes: float) -> str:
    """'1.5 GiB': in binary units, which say so."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size_bytes) < 1023.95:  # what is rounded to 1024 is one of the next
            return "{:g} {}".format(round(size_bytes, 1), unit)
        size_bytes /= 1024.0
    return "{:g} TiB".format(round(size_bytes, 1))
