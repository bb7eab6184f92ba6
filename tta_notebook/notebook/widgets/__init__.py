"""Widgets: the front end's half of what moves."""
