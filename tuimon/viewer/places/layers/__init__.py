"""The whole model, layer by layer and tensor by tensor, over time."""
