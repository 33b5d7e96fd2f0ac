"""What all HTTP views share: endpoints, identity, limits, headers, problems, static files."""
