"""The version of the package, which setup.cfg and every report read."""

__version__ = "0.1.0"
