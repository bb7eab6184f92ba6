"""What answers: an embedded model, a provider, a plain function, a script."""
