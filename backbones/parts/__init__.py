"""What all networks are made of and say about themselves: facts, normalisation, shared layers."""
