"""What Kubernetes' components are: their tasks, keys, configuration, and what "ready" means."""
