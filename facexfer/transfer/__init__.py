"""The shared transfer core: works on any ``nn.Module`` and any loader."""
