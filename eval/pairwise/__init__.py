"""All pairs at once: which there are, and the scores at which they are cut."""
