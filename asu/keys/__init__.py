"""File formats of keys, signatures and certificates; nothing here opens a file."""
