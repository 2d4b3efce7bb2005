"""The worker: takes a build, runs the ImageBuilder in a container of its own, publishes what comes out."""
