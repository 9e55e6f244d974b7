"""What the gateway tells of itself: health, numbers, the log."""
