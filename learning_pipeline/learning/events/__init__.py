"""What stages take from events: fields, texts, moments, kinds of tasks."""
