"""The things in which faces and image classification differ."""
