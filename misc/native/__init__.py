"""The whole system on one machine, without service containers: `make up`, `make down`, `make demo`.

Standard library only, so that it runs before anything is installed. Nothing of asu or asu-prepare
is imported: the services are started by their commands and reached over HTTP, as an operator would.
"""
