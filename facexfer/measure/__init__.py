"""Measuring: what embeds, which pairs are compared, and every question that is answered about them."""
