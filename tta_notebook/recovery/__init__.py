"""Recovery: steps that go on when others fail."""
