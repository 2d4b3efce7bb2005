"""The HTTP edge: what every request and answer passes, and how the server is run."""
