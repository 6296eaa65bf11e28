"""The error that every reader raises for a data file it cannot read."""


class LaclDataError(ValueError):
    """Labelled data that cannot be read; the message names the place (``file:line``) and the remedy."""
