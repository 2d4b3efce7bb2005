"""The whole system on one machine, without containers around the services: `make up`, `make down` and `make demo`.

Standard library only, so that it runs before anything is installed. Nothing of asu or asu-prepare
is imported: the services are started by their commands and reached over HTTP, as an operator would.
"""
