"""What is predicted: losses, learning curves and costs of candidates, and what each candidate promises."""
