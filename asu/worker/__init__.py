"""The worker: runs the ImageBuilder of a build in its own container, and publishes the images."""
