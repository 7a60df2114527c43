"""Where a pod instance goes: offers in, operations or reasons with figures out. Pure."""
