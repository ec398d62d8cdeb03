"""One module per schema version, oldest first; added to, never edited."""
