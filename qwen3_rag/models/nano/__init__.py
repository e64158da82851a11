"""The `nano` checkpoint: its files, and the modules that build them. Nothing here is imported when the package runs."""
