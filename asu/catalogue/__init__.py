"""What can be built: validation, resolution, previews, and the metadata that clients read."""
