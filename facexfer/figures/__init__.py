"""The paper's figures from run folders: one figure a file, each a matplotlib figure that is saved as PNG and SVG."""
