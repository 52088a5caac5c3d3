"""The base of all other packages: errors, files, processes, other systems; nothing here knows of models."""
