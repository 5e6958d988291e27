"""Names of the two files of a model."""

ARCHITECTURE_FILE = "architecture.yaml"
MODEL_FILE = "model.safetensors"
