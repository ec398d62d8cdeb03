"""What is made of patterns: the dataset, the index, metrics and proposals."""
