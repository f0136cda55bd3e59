"""Picture files as pixels: the one reader of all commands, and how many bits a picture uses."""
