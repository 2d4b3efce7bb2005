"""The command line for a laptop: preview, build, follow and download through a server.

It needs the standard library only and imports nothing of the server.
"""
