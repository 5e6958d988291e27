"""The surrogate models: predictions of learning curves, losses and costs, and expected hypervolume improvements."""
