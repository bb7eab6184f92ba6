"""The embedded model: its weights, their installation and the process that serves them."""
