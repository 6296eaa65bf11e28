"""Formats of labelling tools: a module for each kind, with its reader beside its writer; and their table."""
