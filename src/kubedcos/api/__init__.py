"""The framework scheduler as a service: clusters, and the HTTPS API to them."""
