"""What can be done with a set of pictures: what it holds, which methods fit, and what these gained when we measured."""
