"""The downloads server: its documents, the last good copy of each, and the HTTP client."""
