"""One folder a framework: everything that knows it, and nothing else. Frameworks never import each other."""
