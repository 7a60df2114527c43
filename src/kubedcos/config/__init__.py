"""Options of clusters: what may be written in their files, with defaults and limits. Pure."""
