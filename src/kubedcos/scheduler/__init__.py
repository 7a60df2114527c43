"""The event loop: takes the state of the world, decides, acts, and says why."""
