"""What operators read: metrics, health, status."""
