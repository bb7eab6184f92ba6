"""The notebook room: magics, displays, the live view and the lab. `%load_ext tta_notebook`."""
