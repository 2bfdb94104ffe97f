"""Programs that train models, and the models."""
