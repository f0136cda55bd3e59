"""The methods, one paper per file: equations, modules and schedule together."""
