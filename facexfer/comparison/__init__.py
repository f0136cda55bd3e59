"""Methods x networks x data sets x seeds in one command: the grid, its cells, its tables."""
