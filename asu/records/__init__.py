"""The build record, which is the one truth about a build, and the plan that leads to it."""
