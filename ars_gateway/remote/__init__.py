"""ACP's remote transport, below its HTTP doors: agents at work for editors elsewhere."""
