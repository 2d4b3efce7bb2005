"""What can be built: validation of requests, resolution, previews, and the metadata that clients read."""
