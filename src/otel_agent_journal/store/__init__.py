"""Where journals live: the port that every backend implements, its registry, and the backends of the core."""
