"""Places where a cache keeps its entries."""
