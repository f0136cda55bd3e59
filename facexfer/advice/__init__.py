"""What can be done with a set of pictures: what there is, which methods fit, and what they gained where we measured."""
