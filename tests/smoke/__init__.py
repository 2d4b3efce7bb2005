"""The compose files, for real: `python -m tests.smoke`, which is `make smoke`.

Imports nothing of the services: what it knows of them are their images, the compose files and HTTP.
"""
