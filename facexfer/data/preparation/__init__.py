"""From photos to aligned crops."""
