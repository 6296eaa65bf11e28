"""Entities and models for the eye: coloured text, web pages, pictures, plots, the nearest example."""
