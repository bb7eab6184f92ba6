"""Recordings of model calls, so that notebooks and tests run without keys and without cost."""
