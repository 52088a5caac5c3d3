"""The base of all other packages: errors, files, processes, operating systems; nothing here depends on models."""
