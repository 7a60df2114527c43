"""Every process killed and every connection cut at every point of a task's life."""
