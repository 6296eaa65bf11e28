"""Visualisation of entities and models: coloured text, web pages, images, plots, nearest examples."""
