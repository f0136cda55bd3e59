"""One TOML file per reported run."""
