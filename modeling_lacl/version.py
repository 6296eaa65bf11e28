"""The version of the package, used by setup.cfg and in reports."""

__version__ = "0.1.0"
