"""Files on disk: written whole or not at all, held by one process, told apart by digest, found in the package."""
