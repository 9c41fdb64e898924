"""Language models: text to tokens, training, generation."""
